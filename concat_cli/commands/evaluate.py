"""eval: the last stage of a run, or a finished run on another data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from concat_cli.completion import data_sets
from concat_cli.data_options import (
    Annotations,
    Images,
    Labels,
    Listing,
    Root,
    TextEmbeddings,
    TextNames,
    VocabularyName,
)
from concat_cli.errors import guarded
from concat_cli.launch import relaunched
from concat_cli.options import Cache, Debug, Device, Devices, DryRun, Force, RunDir, Seed, Set
from concat_cli.pixel_values import Ignore, pixel_values
from concat_cli.runs import bring_up_to_date, open_run
from concat_cli.scores import show_scores
from pipelines.base.errors import ConcatError

if TYPE_CHECKING:
    from pipelines.runs.run import Run
    from pipelines.stages.transfer import Target


@guarded
def evaluate(
    run: RunDir,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME",
            help="Score the finished run on another data set, whose names take the place of its own: voc, context, "
            "coco-stuff, ade20k or own.",
            show_default="the run's own validation set",
            autocompletion=data_sets,
        ),
    ] = None,
    root: Root = None,
    images: Images = None,
    labels: Labels = None,
    listing: Listing = None,
    annotations: Annotations = None,
    vocabulary: VocabularyName = None,
    ignored: Ignore = None,
    text_embeddings: TextEmbeddings = None,
    text_names: TextNames = None,
    settings: Set = None,
    seed: Seed = None,
    device: Device = None,
    devices: Devices = None,
    cache: Cache = None,
    force: Force = False,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Score the validation images, inductive and transductive: predictions, metrics.json, table and panels.

    With --dataset, the open vocabulary is put to the test: no name of that data set need be known to training.
    """
    if not dry_run and relaunched(devices):
        return
    opened = open_run(run, cache=cache, settings=settings, seed=seed, device=device)
    given = (root, images, labels, listing, annotations, vocabulary, ignored, text_embeddings, text_names)
    if dataset is None:
        if any(value is not None for value in given):
            raise ConcatError("These options describe another data set.", mend="Name it; --dataset own for your own.")
        bring_up_to_date(opened, "eval", force=force, dry_run=dry_run)
        if not dry_run:
            show_scores(run / "eval")
        return
    from pipelines.stages.transfer import transfer_stage

    if dataset == "own":
        target = _own(opened, images, labels, listing, annotations, vocabulary)
    else:
        target = _published(dataset, root, vocabulary)
    target = _ignoring(target, ignored)
    stage = transfer_stage(_with_text(target, text_embeddings, text_names))
    bring_up_to_date(opened, stage.name, force=force, extra=stage, dry_run=dry_run)
    if not dry_run:
        show_scores(run / stage.folder)


def _published(dataset: str, root: Path | None, vocabulary: str | None) -> Target:
    from pipelines.data.sets.build import find_data_set
    from pipelines.stages.transfer import Target

    if dataset == "own" or root is None:
        raise ConcatError(f"Where {dataset} lies is not said.", mend="Give --root FOLDER, as it was unpacked.")
    layout = find_data_set(dataset, root.resolve())
    name = dataset if vocabulary is None else f"{dataset}-{Path(vocabulary).stem}"
    names = _vocabulary_name(vocabulary) if vocabulary else layout.vocabulary
    return Target(name=name, task="semantic", where=layout.val, vocabulary=names, ignored=layout.ignored)


def _own(
    run: Run,
    images: Path | None,
    labels: Path | None,
    listing: Path | None,
    annotations: Path | None,
    vocabulary: str | None,
) -> Target:
    from pipelines.data.sets.locations import location
    from pipelines.stages.transfer import Target

    if images is None or (labels is None) == (annotations is None) or vocabulary is None:
        raise ConcatError(
            "Your own data set is not described.",
            mend="Give --images, --vocabulary, and either --labels (label maps) or --annotations (json).",
        )
    task = "semantic" if labels is not None else run.recipe.task
    labels_given = (path.resolve() if path else None for path in (annotations, labels, listing))
    where = location(task, images.resolve(), *labels_given)
    return Target(name=Path(vocabulary).stem, task=task, where=where, vocabulary=_vocabulary_name(vocabulary))


def _vocabulary_name(name_or_path: str) -> str:
    """A shipped name as it stands, a path made absolute."""
    return str(Path(name_or_path).resolve()) if Path(name_or_path).suffix else name_or_path


def _ignoring(target: Target, values: str | None) -> Target:
    if values is None:
        return target
    if target.task != "semantic":
        raise ConcatError("--ignore says something about label maps, but these are none.", mend="Leave it out.")
    return replace(target, ignored=pixel_values(values))


def _with_text(target: Target, embeddings: Path | None, names: Path | None) -> Target:
    from pipelines.stages.transfer import GivenText

    if (embeddings is None) != (names is None):
        raise ConcatError("Embeddings and their names belong together.", mend="Give both, or neither.")
    if embeddings is None or names is None:
        return target
    return replace(target, text=GivenText(embeddings.resolve(), names.resolve()))
