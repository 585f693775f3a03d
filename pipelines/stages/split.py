"""split-coco: the seen-only training list, the validation list, the two halves of the vocabulary, counts and pictures.

The only stage before finetuning that knows the unseen categories: their ids decide which images are dropped (ZPS),
their names go into a file of their own.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipelines.clip.text import given_embeddings
from pipelines.data.coco_panoptic import read_panoptic, write_panoptic
from pipelines.data.dataset import PanopticFolder
from pipelines.data.locations import Locations
from pipelines.data.split import CategoryTotals, SplitResult, split_panoptic
from pipelines.files import atomic_path
from pipelines.overlay import Picture
from pipelines.panels import contact_sheet, save_png
from pipelines.recipe import Recipe
from pipelines.runner import Run, Stage, StageContext
from pipelines.segmentors.origin import check_training_labels, read_origin, weights_path
from pipelines.stages.panels import truth_overlay
from pipelines.stages.render import locations_of
from pipelines.vocabulary import SHIPPED, Vocabulary, choose_vocabulary, write_part

TILES = 12  # images on an overlay sheet


def execute(context: StageContext) -> None:
    """Splits the data set of the recipe."""
    recipe, where, out = context.recipe, locations_of(context.run), context.out
    vocabulary = choose_vocabulary(recipe.data.vocabulary, recipe.data.unseen)
    segmentor = recipe.con.segmentor
    origin = read_origin(segmentor.backbone, segmentor.backbone_weights)
    check_training_labels(origin, unseen_names=vocabulary.unseen.names)
    write_part(out / "seen.json", vocabulary.seen)
    write_part(out / "unseen.json", vocabulary.unseen)
    for half, name in ((vocabulary.seen, "text_seen.npy"), (vocabulary.unseen, "text_unseen.npy")):
        if recipe.clip.text_embeddings:
            _write_given_text(recipe, half, out / name)
    if where.validates_on_training_images and not recipe.data.val_annotations:
        context.reporter.say("no val2017 sibling and no --val-annotations: eval scores the given set itself")
    with context.reporter.task("split-coco", 1, unit="json") as task:
        result = split_panoptic(where.annotations, out / "train.json", vocabulary=vocabulary)
        task.advance()
    _write_val(where, vocabulary, out / "val.json")
    _write_counts(out / "counts.csv", vocabulary, result)
    _write_dropped(out / "dropped.csv", vocabulary, result)
    train = PanopticFolder(out / "train.json", where.images, where.png, vocabulary.seen)
    val = PanopticFolder(out / "val.json", where.val_images, where.val_png, vocabulary)
    for data, part, name in ((train, vocabulary.seen, "overlay_train.png"), (val, vocabulary, "overlay_val.png")):
        save_png(out / name, contact_sheet(list(_tiles(data, part))))
    context.notes |= {
        "images_kept": result.kept,
        "images_dropped": len(result.dropped),
        "seen": len(vocabulary.seen),
        "unseen": len(vocabulary.unseen),
        "backbone": origin.model_dump(mode="json"),
        "validates_on_training_images": where.validates_on_training_images,
    }
    context.reporter.say(
        f"kept {result.kept} training images, dropped {len(result.dropped)} with unseen pixels; counts.csv, "
        f"dropped.csv and overlay_train.png in {context.run.folder / 'split'} say which and why"
    )


def _write_given_text(recipe: Recipe, half: Vocabulary, path: Path) -> None:
    """The rows of one half, so that what follows can open the seen rows without the unseen ones."""
    rows = given_embeddings(Path(recipe.clip.text_embeddings), Path(recipe.clip.text_names), half)
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.save(file, rows.numpy())


def _write_val(where: Locations, vocabulary: Vocabulary, path: Path) -> None:
    content = read_panoptic(where.val_annotations)
    write_panoptic(path, images=content.images, annotations=content.annotations, vocabulary=vocabulary)


def _write_counts(path: Path, vocabulary: Vocabulary, result: SplitResult) -> None:
    columns = ("images", "segments", "crowd_segments", "pixels")
    header = ["id", "name", "thing", "unseen", *(f"{c} before" for c in columns), *(f"{c} kept" for c in columns)]
    rows = []
    for category in vocabulary.categories:
        totals = [result.before.get(category.id, CategoryTotals()), result.after.get(category.id, CategoryTotals())]
        rows.append(
            [
                category.id,
                category.name,
                int(category.isthing),
                int(category.unseen),
                *(getattr(total, column) for total in totals for column in columns),
            ]
        )
    _write_csv(path, header, rows)


def _write_dropped(path: Path, vocabulary: Vocabulary, result: SplitResult) -> None:
    name_of = {category.id: category.name for category in vocabulary.categories}
    _write_csv(
        path,
        ["image_id", "file_name", "unseen categories"],
        (
            [image.image_id, image.file_name, "; ".join(name_of[i] for i in image.category_ids)]
            for image in result.dropped
        ),
    )


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with atomic_path(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _tiles(data: PanopticFolder, vocabulary: Vocabulary) -> Iterable[tuple[str, Picture]]:
    """Overlays of images spread evenly over a list, titled with their file names."""
    for index in np.unique(np.linspace(0, len(data) - 1, min(TILES, len(data))).astype(int)).tolist():
        yield data.file_name(index), truth_overlay(data, index, vocabulary)


def _sources(run: Run) -> dict[str, Path]:
    where, recipe = locations_of(run), run.recipe
    vocabulary, backbone = Path(recipe.data.vocabulary), weights_path(recipe.con.segmentor.backbone_weights)
    sources = {
        "annotations": where.annotations,
        "val annotations": where.val_annotations,
        "vocabulary": vocabulary if vocabulary.suffix else SHIPPED / f"{vocabulary}.toml",
    }
    if recipe.clip.text_embeddings:
        sources |= {"text embeddings": Path(recipe.clip.text_embeddings), "text names": Path(recipe.clip.text_names)}
    return sources | {"backbone": backbone} if backbone else sources  # its labels are checked here, and only here


STAGE = Stage(
    name="split-coco",
    folder="split",
    version=1,
    execute=execute,
    sources=_sources,
    knows_unseen_names=True,
    reads={"make-micrococo": ("annotations",)},
    settings=lambda recipe: {
        "unseen": recipe.data.unseen,
        "backbone": recipe.con.segmentor.backbone,
        "backbone_weights": recipe.con.segmentor.backbone_weights,
    },
)
