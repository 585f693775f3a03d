"""split-coco: the seen-only training list, the validation list, the two halves of the vocabulary, counts and pictures.

The only stage before finetuning that knows the unseen categories: their ids decide which images are dropped (ZPS) or
which pixels are ignored (ZSS), their names go into a file of their own.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipelines.base.errors import ProtocolError
from pipelines.base.files import atomic_path, write_json
from pipelines.base.terms import NOT_ZERO_SHOT
from pipelines.data.splits.split_result import CategoryTotals, SplitResult
from pipelines.recipes.recipe import Recipe
from pipelines.runs.run import StageContext
from pipelines.segmentors.origin import BackboneOrigin
from pipelines.segmentors.segmentor_origin import SegmentorOrigin, origin_of
from pipelines.segmentors.training_labels import check_training_labels
from pipelines.stages.check import Thoroughness, check_listing
from pipelines.stages.lists import write_training_list, write_validation_list
from pipelines.stages.locations import locations_of
from pipelines.stages.start import write_not_zero_shot
from pipelines.vocabularies.vocabulary import Vocabulary, choose_vocabulary, write_part


def execute(context: StageContext) -> None:
    """Splits the data set of the recipe."""
    recipe, where, out = context.recipe, locations_of(context.run), context.out
    vocabulary = _vocabulary(recipe)
    origin = origin_of(recipe.con.segmentor)
    zero_shot = _is_zero_shot(context, origin, vocabulary)
    write_part(out / "seen.json", vocabulary.seen)
    write_part(out / "unseen.json", vocabulary.unseen)
    for half, name in ((vocabulary.seen, "text_seen.npy"), (vocabulary.unseen, "text_unseen.npy")):
        if recipe.clip.text_embeddings:
            _write_given_text(recipe, half, out / name)
    if where.validates_on_training_images and not recipe.data.names_validation_set:
        context.reporter.say("no validation set was given or found: eval scores the given set itself")
    result = write_training_list(context, where.train, vocabulary, out / "train.json")
    write_validation_list(context, recipe.task, where.val, vocabulary, out / "val.json", ignored=recipe.data.ignored)
    _write_counts(out / "counts.csv", vocabulary, result)
    _write_dropped(out / "dropped.csv", vocabulary, result)
    _check(context, vocabulary)
    for remark in result.remarks:
        context.reporter.say(remark)
    context.notes |= {
        "images_kept": result.kept,
        "images_dropped": len(result.dropped),
        "images_with_ignored_unseen_pixels": result.ignored,
        "images_without_seen_segments": result.empty,
        "images_without_labels": result.unannotated,
        "segments_of_other_categories": result.outside,
        "remarks": list(result.remarks),
        "seen": len(vocabulary.seen),
        "unseen": len(vocabulary.unseen),
        "backbone" if isinstance(origin, BackboneOrigin) else "segmentor": origin.model_dump(mode="json"),
        "zero_shot": zero_shot,
        "validates_on_training_images": where.validates_on_training_images,
    }
    context.reporter.say(f"{_told(result, recipe)}; pictures and tables to check are in {context.run.folder / 'split'}")


def _is_zero_shot(context: StageContext, origin: BackboneOrigin | SegmentorOrigin, vocabulary: Vocabulary) -> bool:
    """Whether the start knows seen categories alone; if not, and the recipe allows it, later stages are told so.

    Raises:
        ProtocolError: the start knows, or may know, unseen categories, and the recipe does not allow it.
    """
    if origin.remark:
        context.reporter.say(origin.remark)
    try:
        check_training_labels(origin, unseen_names=vocabulary.unseen.names)
    except ProtocolError as error:
        if not context.recipe.data.allow_seen_unseen:
            raise
        write_not_zero_shot(context.out)
        context.reporter.say(f"{NOT_ZERO_SHOT}: {error.message}")
        return False
    return True


def _vocabulary(recipe: Recipe) -> Vocabulary:
    """The recipe's categories; stuff has no instances."""
    vocabulary = choose_vocabulary(recipe.data.vocabulary, recipe.data.unseen)
    return vocabulary.things if recipe.task == "instance" else vocabulary


def _told(result: SplitResult, recipe: Recipe) -> str:
    """What the split did, in words."""
    if recipe.data.protocol == "zss":
        told = f"kept {result.kept} training images, {result.ignored} of them with unseen pixels, which are ignored"
    else:
        told = f"kept {result.kept} training images, dropped {len(result.dropped)} with unseen pixels"
    return told + (f"; left out {result.empty} that hold nothing seen" if result.empty else "")


def _check(context: StageContext, vocabulary: Vocabulary) -> None:
    """Looks through both lists and draws a sheet of each, for a person to check at a glance."""
    recipe, where, out = context.recipe, locations_of(context.run), context.out
    reports = {}
    for name, location, part in (("train", where.train, vocabulary.seen), ("val", where.val, vocabulary)):
        checked = check_listing(
            name,
            recipe.task,
            location,
            out / f"{name}.json",
            part,
            sheet=out / f"overlay_{name}.png",
            how=Thoroughness(context.reporter, cache=context.run.cache),
            unlisted="ignore" if recipe.data.protocol == "zss" and name == "train" else "refuse",
        )
        reports[name] = checked.report.model_dump(mode="json")
        for finding in checked.report.findings:
            if finding.serious:
                context.reporter.say(f"{name}: {finding.says}, such as {finding.examples[0]}")
    write_json(out / "check.json", reports)


def _write_given_text(recipe: Recipe, half: Vocabulary, path: Path) -> None:
    """The rows of one half, so that what follows can open the seen rows without the unseen ones."""
    from pipelines.clip.given import given_embeddings  # with torch, for the runs that need it

    rows = given_embeddings(Path(recipe.clip.text_embeddings), Path(recipe.clip.text_names), half)
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.save(file, rows.numpy())


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
