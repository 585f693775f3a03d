"""check-data: what stands in a data set or in the lists of a run, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concat_cli.console import RichReporter
from concat_cli.data_options import Annotations, Images, Labels, Listing, Unseen, VocabularyName
from concat_cli.data_report import show_list
from concat_cli.errors import guarded
from concat_cli.options import Cache, Debug, Json
from concat_cli.pixel_values import pixel_values
from concat_cli.runs import open_run
from pipelines.base.errors import ConcatError
from pipelines.data.sets.settings import DataSettings

if TYPE_CHECKING:
    from pipelines.stages.check import CheckedList, Thoroughness
    from pipelines.vocabularies.vocabulary import Vocabulary


@guarded
def check_data(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory whose two lists are checked.", metavar="RUN", file_okay=False)
    ] = None,
    images: Images = None,
    annotations: Annotations = None,
    labels: Labels = None,
    listing: Listing = None,
    vocabulary: VocabularyName = None,
    unseen: Unseen = None,
    ignored: Annotated[
        str, typer.Option("--ignore", help="Pixel values of label maps that are no category, comma-separated.")
    ] = "0,255",
    everything: Annotated[
        bool, typer.Option("--all", help="Decode all files; otherwise of more than 2,000 images 2,000, evenly spread.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes that decode.", show_default="all cores", min=1)
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            help="PNG for the contact sheet; of a run _train and _val are added to its name.",
            show_default="RUN/check.png, else check.png",
            dir_okay=False,
        ),
    ] = None,
    json_output: Json = False,
    cache: Cache = None,
    debug: Debug = False,
) -> None:
    """Count and check a data set or a run's lists, and draw a contact sheet; exit code 2 if a run would suffer."""
    from pipelines.base.parallel import usable_cores
    from pipelines.base.progress import SilentReporter
    from pipelines.stages.check import Thoroughness

    reporter = SilentReporter() if json_output else RichReporter()
    how = Thoroughness(reporter, everything, workers or usable_cores(), cache)
    if run is not None:
        if any((images, annotations, labels, listing, vocabulary, unseen)):
            raise ConcatError(
                "Give a run, or images and labels, but not both.", mend="Leave out RUN, or the options beside it."
            )
        checked = _check_run(run, cache, sheet or run / "check.png", how)
    else:
        settings = _settings(images, annotations, labels, listing)
        values = pixel_values(ignored)
        checked = [_check_paths(settings, vocabulary, unseen, values, sheet or Path("check.png"), how)]
    if json_output:
        typer.echo(json.dumps({"lists": [_as_json(each) for each in checked]}, indent=1))
    else:
        for each in checked:
            show_list(each)
    if not all(each.report.sound for each in checked):
        raise typer.Exit(2)


def _check_run(run: Path, cache: Path | None, sheet: Path, how: Thoroughness) -> list[CheckedList]:
    from pipelines.stages.check import check_run

    opened = open_run(run, cache=cache)
    if not (run / "split" / "val.json").exists():
        raise ConcatError("This run has no lists yet.", file=run, mend=f"Run `concat split-coco --run {run}` first.")
    sheets = {name: sheet.with_stem(f"{sheet.stem}_{name}") for name in ("train", "val")}
    return check_run(opened, sheets=sheets, how=how)


def _check_paths(
    settings: DataSettings,
    vocabulary: str | None,
    unseen: str | None,
    ignored: tuple[int, ...],
    sheet: Path,
    how: Thoroughness,
) -> CheckedList:
    from pipelines.data.checks.survey import describe_json
    from pipelines.data.sets.locations import locate
    from pipelines.stages.check import check_label_maps, check_listing
    from pipelines.vocabularies.vocabulary import load_vocabulary

    if settings.labels:
        where = locate(settings, "semantic", Path()).train
        name = (where.listing or where.images).name
        if vocabulary is None:
            raise ConcatError(
                "Label maps do not say what their pixel values mean.",
                mend="Give --vocabulary, such as voc20, pc59, ade150, coco_stuff or a file of your own.",
            )
        categories = _with_unseen(load_vocabulary(vocabulary), unseen)
        return check_label_maps(name, where, categories, ignored=ignored, sheet=sheet, how=how)
    annotations = locate(settings, "panoptic", Path()).train.annotations
    assert annotations is not None
    task, own = describe_json(annotations)
    where = locate(settings, task, Path()).train
    categories = _with_unseen(own if vocabulary is None else load_vocabulary(vocabulary), unseen)
    return check_listing(annotations.name, task, where, annotations, categories, sheet=sheet, how=how)


def _with_unseen(vocabulary: Vocabulary, unseen: str | None) -> Vocabulary:
    """A vocabulary with its own unseen categories, or with those named in `unseen`, comma-separated."""
    if unseen is None:
        return vocabulary
    return vocabulary.with_unseen([name.strip() for name in unseen.split(",") if name.strip()])


def _settings(images: Path | None, annotations: Path | None, labels: Path | None, listing: Path | None) -> DataSettings:
    """The paths as a recipe has them."""
    if images is None or (annotations is None) == (labels is None):
        raise ConcatError(
            "There is nothing to check." if images is None else "Give either --annotations or --labels.",
            mend="Give a run directory, or --images with --annotations JSON or --labels FOLDER.",
        )
    if listing is not None and labels is None:
        raise ConcatError("--list goes with --labels: a json lists its images itself.", mend="Leave out --list.")
    given = {"images": images, "annotations": annotations, "labels": labels, "listing": listing}
    return DataSettings(**{name: str(path) for name, path in given.items() if path is not None})


def _as_json(checked: CheckedList) -> dict[str, Any]:
    sheet = None if checked.sheet is None else str(checked.sheet)
    head = {"name": checked.name, "task": checked.task, "sound": checked.report.sound, "sheet": sheet}
    return head | checked.report.model_dump(mode="json")
