"""The lists of training and validation images, made from what the task's labels are."""

from pathlib import Path

from pipelines.base.files import remove
from pipelines.base.parallel import usable_cores
from pipelines.base.terms import Task
from pipelines.data.files.archives import open_files
from pipelines.data.formats.coco_panoptic import read_panoptic, write_panoptic
from pipelines.data.formats.label_map_pairs import pair_label_maps
from pipelines.data.sets.locations import Location
from pipelines.data.splits.label_map_counts import LabelMapTotals, read_label_maps
from pipelines.data.splits.split import split_panoptic
from pipelines.data.splits.split_instances import list_instances, split_instances
from pipelines.data.splits.split_label_maps import list_label_maps, split_label_maps
from pipelines.data.splits.split_result import SplitResult
from pipelines.runs.run import StageContext
from pipelines.vocabularies.vocabulary import Vocabulary


def write_training_list(context: StageContext, where: Location, vocabulary: Vocabulary, path: Path) -> SplitResult:
    """Writes the seen-only list of the recipe's protocol to `path`."""
    task, data = context.recipe.task, context.recipe.data
    if task == "semantic":
        counted = _counted(context, where, vocabulary, data.ignored)
        return split_label_maps(counted, path, vocabulary=vocabulary, protocol=data.protocol)
    split = split_instances if task == "instance" else split_panoptic
    assert where.annotations is not None  # both forms have a json
    with context.reporter.task(context.stage, 1, unit="json") as progress:
        result = split(where.annotations, path, vocabulary=vocabulary, protocol=data.protocol)
        progress.advance()
    return result


def write_validation_list(
    context: StageContext,
    task: Task,
    where: Location,
    vocabulary: Vocabulary,
    path: Path,
    *,
    ignored: tuple[int, ...],
) -> None:
    """Writes a list of all images and all categories to `path`; `ignored` are values of label maps."""
    if task == "semantic":
        list_label_maps(_counted(context, where, vocabulary, ignored), path, vocabulary=vocabulary)
        return
    assert where.annotations is not None
    if task == "instance":
        list_instances(where.annotations, path, vocabulary=vocabulary)
        return
    content = read_panoptic(where.annotations)
    write_panoptic(path, images=content.images, annotations=content.annotations, vocabulary=vocabulary)


def _counted(
    context: StageContext, where: Location, vocabulary: Vocabulary, ignored: tuple[int, ...]
) -> LabelMapTotals:
    """What the label maps hold; an interrupted reading goes on where it was."""
    assert where.labels is not None
    cache = context.run.cache
    labels, images = open_files(where.labels, cache), open_files(where.images, cache)
    resume = context.out / ".counts"
    counted = read_label_maps(
        labels,
        images,
        pair_label_maps(images, labels, where.listing),
        vocabulary=vocabulary,
        ignored=ignored,
        workers=usable_cores(),
        progress=context.reporter,
        resume=resume,
    )
    remove(resume)
    return counted
