"""What a finished run left behind, read and checked for its report."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import read_json
from pipelines.base.terms import MAIN_FIGURE, Task
from pipelines.metrics.groups import Summary
from pipelines.report.losses import LossCurves, read_losses
from pipelines.runs.freshness import Status, status
from pipelines.runs.manifest import RunManifest, read_manifest
from pipelines.runs.run import Run, Stage
from pipelines.stages.chain import FINETUNE, chain
from pipelines.vocabularies.vocabulary import Vocabulary, open_seen, open_unseen

CATEGORY_FIGURE: Final[Mapping[Task, str]] = {"panoptic": "pq", "semantic": "iou", "instance": "mask_ap50"}
_GROUPS = TypeAdapter(Summary)
_READER: Final = "eval"  # whatever eval may know, its report may


@dataclass(frozen=True)
class Metrics:
    """`eval/metrics.json`: groups of figures in percent.

    Attributes:
        inductive: at `increment`. sweep: by increment.
        transductive: the last iterate; None where the recipe has no finetuning, and so no `best` and no `path`.
        path: by step of finetuning.
        novel_only: setting → figures where unseen names alone compete.
        zero_shot: whether the segmentor's start knew seen categories alone.
    """

    increment: float
    images: int
    inductive: Summary
    sweep: dict[float, Summary]
    transductive: Summary | None
    best: Summary | None
    last_step: int | None
    best_step: int | None
    path: dict[int, Summary]
    novel_only: dict[str, Summary]
    zero_shot: bool = True

    @property
    def by_increment(self) -> dict[float, Summary]:
        """The sweep with the recipe's own increment."""
        return {**self.sweep, self.increment: self.inductive}

    @property
    def by_step(self) -> dict[float, Summary]:
        """The path of finetuning, as a chart takes it."""
        return {float(step): groups for step, groups in self.path.items()}


@dataclass(frozen=True)
class CategoryFigures:
    """A row of `eval/categories.csv`: setting → figure → percent or count, None where a category does not count."""

    name: str
    isthing: bool
    unseen: bool
    figures: dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class FinishedRun:
    """A run whose every stage is done.

    Attributes:
        stages: those of its recipe, in order.
        manifests, states: by name of the stage.
        losses: by name of the stage, for those that train.
    """

    run: Run
    stages: list[Stage]
    manifests: dict[str, RunManifest]
    states: dict[str, Status]
    vocabulary: Vocabulary
    metrics: Metrics
    categories: list[CategoryFigures]
    losses: dict[str, LossCurves]

    @property
    def task(self) -> Task:
        """What was predicted."""
        return self.run.recipe.task

    @property
    def figure(self) -> str:
        """The figure of a group that results are ranked by."""
        return MAIN_FIGURE[self.task]

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings whose predictions were kept."""
        return ("inductive", "transductive") if self.metrics.transductive else ("inductive",)

    @property
    def finetuned(self) -> bool:
        """Whether finetuning belongs to the recipe."""
        return FINETUNE.name in self.manifests


def read_finished(run: Run) -> FinishedRun:
    """Reads a run for its report.

    Raises:
        ConcatError: a stage has not run.
        CorruptFileError: what a stage left is damaged.
    """
    stages = chain(run.recipe)
    _check_finished(run, stages)
    folder = run.folder
    vocabulary = open_seen(folder / "split/seen.json") + open_unseen(folder / "split/unseen.json", stage=_READER)
    return FinishedRun(
        run=run,
        stages=stages,
        manifests={stage.name: read_manifest(folder / stage.folder / "manifest.json") for stage in stages},
        states={state.name: state for state in status(run, stages)},
        vocabulary=vocabulary,
        metrics=read_metrics(folder / "eval/metrics.json", run.recipe.task, _again(run)),
        categories=read_categories(folder / "eval/categories.csv", vocabulary, _again(run)),
        losses={
            stage.name: read_losses(folder / stage.folder / "metrics.jsonl")
            for stage in stages
            if (folder / stage.folder / "metrics.jsonl").exists()
        },
    )


def _check_finished(run: Run, stages: list[Stage]) -> None:
    missing = [stage.name for stage in stages if not (run.folder / stage.folder / "manifest.json").exists()]
    if missing:
        raise ConcatError(
            f"This run is not finished: {', '.join(missing)} {'has' if len(missing) == 1 else 'have'} not run.",
            file=run.folder,
            mend=f"`concat eval --run {run.folder}` runs what is missing.",
        )


def _again(run: Run) -> str:
    return f"`concat eval --run {run.folder} --force` writes it again."


def read_metrics(path: Path, task: Task, mend: str) -> Metrics:
    """Reads `metrics.json`.

    Raises:
        CorruptFileError: it is not what eval writes for `task`.
    """
    value = read_json(path, mend=mend)
    try:
        return _metrics(value, task)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"it lacks {error}"
        raise CorruptFileError(f"Not the metrics of a {task} run: {first}.", file=path, mend=mend) from None


def _metrics(value: Any, task: Task) -> Metrics:
    def groups(scored: Any) -> Summary:
        return _GROUPS.validate_python(scored[task])

    def optional(key: str) -> Summary | None:
        return groups(value[key]) if key in value else None

    return Metrics(
        increment=float(value["increment"]),
        images=int(value["images"]),
        inductive=groups(value["inductive"]),
        sweep={float(key): groups(scored) for key, scored in value["inductive_sweep"].items()},
        transductive=optional("transductive"),
        best=optional("transductive_best"),
        last_step=value.get("transductive", {}).get("step"),
        best_step=value.get("transductive_best", {}).get("step"),
        path={int(key): groups(scored) for key, scored in value.get("finetune_path", {}).items()},
        novel_only={key: groups(scored) for key, scored in value.get("novel_only", {}).items()},
        zero_shot=bool(value.get("zero_shot", True)),
    )


def read_categories(path: Path, vocabulary: Vocabulary, mend: str) -> list[CategoryFigures]:
    """Reads `categories.csv`, which holds exactly the categories of `vocabulary`.

    Raises:
        CorruptFileError: it does not.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [_category(row) for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise ConcatError("File not found.", file=path, mend=mend) from None
    except (KeyError, TypeError, ValueError, AttributeError, csv.Error) as error:
        raise CorruptFileError(f"Not a table of categories: {error}.", file=path, mend=mend) from None
    if [row.name for row in rows] != vocabulary.names:
        raise CorruptFileError("It does not list the categories of this run.", file=path, mend=mend)
    return rows


def _category(row: Mapping[str, str]) -> CategoryFigures:
    figures: dict[str, dict[str, float | None]] = {}
    for column, text in row.items():
        setting, _, figure = column.partition(" ")
        if figure:
            figures.setdefault(setting, {})[figure] = float(text) if text else None
    return CategoryFigures(row["name"], bool(int(row["thing"])), bool(int(row["unseen"])), figures)
