"""How many images the stages of a run will meet: as its lists say, or as they will, as far as that can be told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pipelines.base.errors import ConcatError
from pipelines.data.files.archives import exists, on_disk, open_files
from pipelines.data.formats.label_map_pairs import pair_label_maps
from pipelines.data.sets.locations import Location, Locations
from pipelines.data.splits.expected import Counted, count_kept, count_listed, kept_of
from pipelines.micrococo.dataset import training_segments
from pipelines.runs.run import Run
from pipelines.stages.locations import locations_of
from pipelines.vocabularies.vocabulary import Vocabulary, choose_vocabulary

How = Literal["listed", "estimated", "at most"]
_SCENES: Final = 256
"""Scenes that are drawn to tell what they hold."""


@dataclass(frozen=True)
class Images:
    """How many images there are, and segments in them, crowds left out; None: unknown.

    Attributes:
        how: listed by the split; estimated, from annotations that are still to be split; or at most so many.
    """

    count: int
    segments: int | None
    how: How


def training_images_of(run: Run, *, split: bool) -> Images | None:
    """The images that the run trains on; None: there is nothing to tell it by.

    Args:
        split: whether the run's list stands; otherwise it is told from what the list will be made of.
    """
    if split:
        return Images(*count_listed(run.folder / "split/train.json"), how="listed")
    where = _locations(run)
    annotations = where.train.annotations if where else _path(run.recipe.data.annotations)
    data, task, vocabulary = run.recipe.data, run.recipe.task, categories_of(run)
    if annotations is not None and _readable(annotations):
        return Images(*count_kept(annotations, task, data.protocol, vocabulary), how="estimated")
    if data.micrococo.render:
        return Images(*_of_scenes(run, vocabulary), how="estimated")
    maps = _label_maps(where.train, run.cache) if where else None
    return None if maps is None else Images(maps, None, how="at most")


def validation_images_of(run: Run, *, split: bool) -> Images | None:
    """The images that `eval` scores, all that are given; arguments as in `training_images_of`."""
    if split:
        return Images(*count_listed(run.folder / "split/val.json"), how="listed")
    where, scenes = _locations(run), run.recipe.data.micrococo
    if scenes.render:
        return Images(scenes.val if scenes.evaluate_on == "val" else scenes.tune, None, how="estimated")
    if where is None:
        return None
    if where.val.annotations is not None and _readable(where.val.annotations):
        return Images(*count_listed(where.val.annotations), how="estimated")
    maps = _label_maps(where.val, run.cache)
    return None if maps is None else Images(maps, None, how="estimated")


def categories_of(run: Run) -> Vocabulary:
    """The recipe's categories; stuff has no instances."""
    vocabulary = choose_vocabulary(run.recipe.data.vocabulary, run.recipe.data.unseen)
    return vocabulary.things if run.recipe.task == "instance" else vocabulary


def _of_scenes(run: Run, vocabulary: Vocabulary) -> Counted:
    """What the first scenes hold, times as many as there will be."""
    scenes, task = run.recipe.data.micrococo, run.recipe.task
    drawn = min(scenes.train, _SCENES)
    held = training_segments(drawn, size=scenes.size, seed=scenes.seed)
    if task == "semantic":  # a label map knows categories alone
        held = [[(category, False) for category in sorted({category for category, _ in image})] for image in held]
    images, segments = kept_of(held, task, run.recipe.data.protocol, vocabulary)
    return Counted(images * scenes.train // drawn, segments * scenes.train // drawn)


def _locations(run: Run) -> Locations | None:
    try:
        return locations_of(run)
    except ConcatError:  # as split-coco will say
        return None


def _label_maps(where: Location, cache: Path) -> int | None:
    """How many images have a label map; None: they cannot be listed, or a zip within a zip would be copied for it."""
    if where.labels is None or any(_zip_in_zip(path) for path in where.pixels().values()):
        return None
    try:
        images, labels = open_files(where.images, cache), open_files(where.labels, cache)
        return len(pair_label_maps(images, labels, where.listing).names)
    except ConcatError:
        return None


def _zip_in_zip(path: Path) -> bool:
    outer = on_disk(path)
    return outer != path and any(part.endswith(".zip") for part in path.relative_to(outer).parts)


def _readable(annotations: Path) -> bool:
    try:
        return exists(annotations)
    except ConcatError:
        return False


def _path(setting: str) -> Path | None:
    return Path(setting) if setting else None
