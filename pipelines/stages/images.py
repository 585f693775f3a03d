"""The labelled images of a run: the reader that its task asks for, over the files that its recipe names."""

from pathlib import Path
from typing import Literal

from pipelines.base.terms import Task
from pipelines.data.files.archives import open_files
from pipelines.data.formats.instance_images import open_instance_images
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.panoptic_images import open_panoptic_images
from pipelines.data.formats.semantic_images import open_semantic_images
from pipelines.data.sets.locations import Location
from pipelines.runs.run import Run
from pipelines.stages.locations import locations_of
from pipelines.vocabularies.vocabulary import Vocabulary


def training_images(run: Run, listing: Path, vocabulary: Vocabulary) -> LabelledImages:
    """The images of a training list, as `split-coco` wrote it; under ZSS what it does not list is void."""
    unlisted: Literal["ignore", "refuse"] = "ignore" if run.recipe.data.protocol == "zss" else "refuse"
    where = locations_of(run).train
    return labelled_images(run.recipe.task, where, listing, vocabulary, unlisted=unlisted, cache=run.cache)


def validation_images(run: Run, listing: Path, vocabulary: Vocabulary) -> LabelledImages:
    """The images of a validation list."""
    return labelled_images(run.recipe.task, locations_of(run).val, listing, vocabulary, cache=run.cache)


def labelled_images(
    task: Task,
    where: Location,
    listing: Path,
    vocabulary: Vocabulary,
    *,
    unlisted: Literal["refuse", "ignore"] = "refuse",
    cache: Path | None = None,
) -> LabelledImages:
    """The images that the json `listing` names, with labels of the task's form; `cache` as in `open_files`."""
    if task == "instance":
        return open_instance_images(listing, where.images, vocabulary, cache=cache)
    assert where.labels is not None  # the other two forms keep labels in a folder
    if task == "semantic":
        return open_semantic_images(listing, where.images, where.labels, vocabulary, cache=cache)
    return open_panoptic_images(listing, where.images, where.labels, vocabulary, unlisted=unlisted, cache=cache)


def content_of(where: Location, cache: Path) -> str:
    """The identity of image and label files: hashes of their listings; `cache` as in `open_files`."""
    return " ".join(open_files(folder, cache).fingerprint() for folder in where.pixels().values())
