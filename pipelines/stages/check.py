"""check-data: a list of images counted and examined, and its contact sheet; the last step of every preparation."""

import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipelines.base.parallel import usable_cores
from pipelines.base.progress import Reporter
from pipelines.base.terms import Task
from pipelines.data.checks.check import DECODED, DataReport, NoImages, check_images
from pipelines.data.checks.survey import JsonTask, Survey, survey_json
from pipelines.data.checks.survey_label_maps import survey_label_maps
from pipelines.data.files.archives import open_files
from pipelines.data.sets.locations import Location
from pipelines.runs.run import Run
from pipelines.stages.images import labelled_images
from pipelines.stages.locations import locations_of
from pipelines.stages.sheet import write_sheet
from pipelines.vocabularies.vocabulary import Vocabulary, choose_vocabulary


@dataclass(frozen=True)
class CheckedList:
    """A list that was checked.

    Attributes:
        name: what it is called.
        task: of which form its labels are.
        report: what was found.
        sheet: its contact sheet; None if none was asked for or no image can be shown.
    """

    name: str
    task: Task
    report: DataReport
    sheet: Path | None


@dataclass(frozen=True)
class Thoroughness:
    """How a list is checked.

    Attributes:
        reporter: hears of every decoded image.
        full: decode all files; otherwise of more than 2,000 images 2,000, evenly spread.
        workers: number of processes.
        cache: as in `open_files`.
    """

    reporter: Reporter
    full: bool = False
    workers: int = field(default_factory=usable_cores)
    cache: Path | None = None


def check_listing(
    name: str,
    task: Task,
    where: Location,
    listing: Path,
    vocabulary: Vocabulary,
    *,
    sheet: Path | None,
    how: Thoroughness,
    unlisted: Literal["refuse", "ignore"] = "refuse",
) -> CheckedList:
    """Checks a json of images, such as a split's list, with the files it names, and draws its contact sheet.

    Args:
        name: what it is called on the sheet.
        task: of which form its labels are.
        where: images and labels.
        listing: the json: COCO's panoptic form, or for instances COCO's instances form.
        vocabulary: the categories that may occur, unseen ones marked.
        sheet: where the contact sheet goes; None: nowhere.
        how: what is decoded, and who hears of it.
        unlisted: whether pixels that the json does not list are an error, or void as in a ZSS training list.

    Raises:
        ConcatError: a folder or the json is missing.
        CorruptFileError: the json is none of its form.
    """
    form: JsonTask = "instance" if task == "instance" else "panoptic"  # label maps are listed as panoptic PNGs are
    labels = open_files(where.labels, how.cache) if where.labels else None
    with tempfile.TemporaryDirectory(prefix="concat-check-") as folder:
        survey = survey_json(listing, form, vocabulary, Path(folder) / "usable.json", labels=labels)
        return _check_surveyed(name, task, where, survey, vocabulary, sheet, how, unlisted)


def check_label_maps(
    name: str,
    where: Location,
    vocabulary: Vocabulary,
    *,
    ignored: Collection[int],
    sheet: Path | None,
    how: Thoroughness,
) -> CheckedList:
    """Checks images and label maps that no json lists yet; arguments as `check_listing`.

    Args:
        ignored: pixel values that are no category.

    Raises:
        ConcatError: a folder is missing, or no image has a label map, or one of `where.listing` is missing.
    """
    assert where.labels is not None
    with tempfile.TemporaryDirectory(prefix="concat-check-") as folder:
        survey = survey_label_maps(
            open_files(where.images, how.cache),
            open_files(where.labels, how.cache),
            Path(folder) / "usable.json",
            vocabulary=vocabulary,
            ignored=ignored,
            listed=where.listing,
            most=None if how.full else DECODED,
            workers=how.workers,
            reporter=how.reporter,
        )
        return _check_surveyed(name, "semantic", where, survey, vocabulary, sheet, how, "refuse")


def check_run(run: Run, *, sheets: dict[str, Path], how: Thoroughness) -> list[CheckedList]:
    """Checks the training and the validation list of a run.

    Args:
        sheets: where the contact sheets of "train" and "val" go.

    Raises:
        ConcatError: the lists were not written yet, or cannot be read.
    """
    recipe, where, split = run.recipe, locations_of(run), run.folder / "split"
    vocabulary = choose_vocabulary(recipe.data.vocabulary, recipe.data.unseen)
    unlisted: Literal["refuse", "ignore"] = "ignore" if recipe.data.protocol == "zss" else "refuse"
    train = check_listing(
        "train",
        recipe.task,
        where.train,
        split / "train.json",
        vocabulary.seen,
        sheet=sheets["train"],
        how=how,
        unlisted=unlisted,
    )
    val = check_listing("val", recipe.task, where.val, split / "val.json", vocabulary, sheet=sheets["val"], how=how)
    return [train, val]


def _check_surveyed(
    name: str,
    task: Task,
    where: Location,
    survey: Survey,
    vocabulary: Vocabulary,
    sheet: Path | None,
    how: Thoroughness,
    unlisted: Literal["refuse", "ignore"],
) -> CheckedList:
    data = None
    if survey.listing:
        data = labelled_images(task, where, survey.listing, vocabulary, unlisted=unlisted, cache=how.cache)
    report = check_images(
        data or NoImages(),
        images=open_files(where.images, how.cache),
        vocabulary=vocabulary,
        survey=survey,
        compare_areas=task != "instance",  # the areas of polygons are not those of their pixels
        full=how.full,
        workers=how.workers,
        reporter=how.reporter,
    )
    drawn = sheet is not None and data is not None and write_sheet(sheet, data, vocabulary, report, name=name)
    return CheckedList(name, task, report, sheet if drawn else None)
