"""Runs, scored predictions and published figures side by side, with differences to the first."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import read_json
from pipelines.base.terms import MAIN_FIGURE, NOT_ZERO_SHOT, WHY_NOT_ZERO_SHOT, Candidates, Task
from pipelines.published_tables.published import PublishedResult, find_published
from pipelines.scoring.scores import CANDIDATES, Figures, Scores

GENERALISED: Final = ("seen", "unseen", "harmonic")  # read together or not at all
GROUPS: Final = (*GENERALISED, "all", "things", "stuff")
SETTINGS: Final = ("inductive", "transductive", "transductive_best")
BY_DEFAULT: Final = SETTINGS[:2]


class Entry(BaseModel):
    """What is laid beside other things.

    Attributes:
        name: as one would type it.
        setting: inductive or transductive; None: not known.
        protocol: zps or zss; None: not known.
        vocabulary: of the categories behind the figures; empty: not known.
        zero_shot: False where the model's start knew, or may have known, unseen categories; None: nothing is said.
        about: where the figures come from.
        groups: group → figure → percent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    task: Task
    candidates: Candidates
    setting: str | None = None
    protocol: str | None = None
    vocabulary: str = ""
    zero_shot: bool | None = None
    about: str = ""
    groups: dict[str, Figures]


@dataclass(frozen=True)
class Row:
    """One entry in a comparison: the figure shown, its values by group, and their differences to the first entry's."""

    entry: Entry
    figure: str
    values: dict[str, float | None]
    differences: dict[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """Rows to be read under `groups`, and what a reader has to know before comparing them."""

    groups: tuple[str, ...]
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The whole comparison as plain values."""
        rows = [
            row.entry.model_dump(exclude={"groups"})
            | {"figure": row.figure, "values": row.values, "differences": row.differences}
            for row in self.rows
        ]
        return {"groups": list(self.groups), "rows": rows, "warnings": list(self.warnings)}

    def to_csv(self) -> str:
        """One entry a row; figures in percent, empty where there is none."""
        head = ("name", "task", "figure", "candidates", "setting", "protocol", "vocabulary", "zero_shot", "about")
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*head, *self.groups, *(f"{group} difference" for group in self.groups)])
        for row in self.rows:
            said = row.entry.model_dump() | {"figure": row.figure}
            figures = [values[group] for values in (row.values, row.differences) for group in self.groups]
            writer.writerow([*(said[key] for key in head), *figures])
        return text.getvalue()


def read_entries(argument: str) -> list[Entry]:
    """What an argument of `concat compare` stands for.

    Args:
        argument: a run directory or one evaluation's folder in it (`DIR`, or `DIR:inductive`, `DIR:transductive`,
            `DIR:transductive_best`), a json of `concat score`, or the id of a published result or what several ids
            begin with.

    Raises:
        ConcatError: it is none of them, or the run is not evaluated.
        CorruptFileError: the scores in it are damaged.
    """
    path, setting = Path(argument), ""
    if not path.exists() and ":" in argument:
        before, _, setting = argument.rpartition(":")
        path = Path(before)
    if path.is_dir():
        return _of_run(path, setting)
    if path.suffix == ".json":
        return [_of_scores(path)]
    try:
        return [published_entry(result) for result in find_published(argument)]
    except ConcatError as error:
        raise ConcatError(
            f"{argument!r} is no run directory, no json of scores and no published result.", mend=error.mend
        ) from None


def _of_run(folder: Path, setting: str) -> list[Entry]:
    if setting not in ("", *SETTINGS):
        raise ConcatError(
            f"A run has no setting {setting!r}.", file=folder, mend=f"Write {folder}:{' or :'.join(SETTINGS)}."
        )
    direct = folder / "metrics.json"  # of eval on another data set: RUN/eval-NAME
    path = direct if direct.exists() else folder / "eval" / "metrics.json"
    if not path.exists():
        raise ConcatError(
            "This folder holds no evaluated run.", file=path, mend=f"Evaluate it: concat eval --run {folder}"
        )
    mend = "Evaluate again: concat eval --run DIR --force."
    metrics = read_json(path, mend=mend)
    try:
        return [_of_setting(folder, metrics, name) for name in ([setting] if setting else BY_DEFAULT)]
    except (KeyError, TypeError, AttributeError, StopIteration, ValidationError) as error:
        raise CorruptFileError(f"Not what eval writes: {_first(error)}.", file=path, mend=mend) from None


def _of_setting(folder: Path, metrics: Any, setting: str) -> Entry:
    task = next(task for task in MAIN_FIGURE if task in metrics[setting])
    meaning = {text: candidates for candidates, text in CANDIDATES.items()}
    best = "the best iterate on this test set" if setting == "transductive_best" else ""
    return Entry(
        name=f"{folder}:{setting}",
        task=task,
        candidates=meaning[metrics["candidates"]],
        setting=setting.removesuffix("_best"),
        protocol=metrics.get("protocol"),
        vocabulary=metrics.get("vocabulary", ""),
        zero_shot=metrics.get("zero_shot"),
        about=", ".join(filter(None, [f"{metrics['images']} images", best])),
        groups=metrics[setting][task],
    )


def _of_scores(path: Path) -> Entry:
    value = read_json(path)
    try:
        scores = Scores.model_validate(value)
    except ValidationError as error:
        raise CorruptFileError(
            f"Not scores: {_first(error)}.", file=path, mend="Write them with `concat score --out FILE`."
        ) from None
    missing = f", {len(scores.missing)} without prediction" if scores.missing else ""
    return Entry(
        name=str(path),
        task=scores.task,
        candidates=scores.candidates,
        vocabulary=scores.vocabulary,
        zero_shot=scores.zero_shot,
        about=f"{scores.images} images{missing}",
        groups=scores.groups,
    )


def published_entry(result: PublishedResult) -> Entry:
    """A published row as an entry."""
    rate = "" if result.frames_per_second is None else f"{result.frames_per_second:g} frames/s"
    trained = f"trained on {result.trained_on}" if result.trained_on else ""
    where = f"{result.data_set} {result.split}".strip()
    return Entry(
        name=result.id,
        task=result.task,
        candidates=result.candidates,
        setting=result.setting,
        protocol=result.protocol,
        vocabulary=result.vocabulary,
        about=", ".join(filter(None, [result.method, result.backbone, where, trained, rate, result.note]))
        + f"; {result.source}",
        groups={group: dict(figures) for group, figures in result.figures.items()},
    )


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"it lacks {error}" if isinstance(error, KeyError) else "its settings hold no scores"


def compare(entries: Sequence[Entry], figure: str | None = None) -> Comparison:
    """Lays entries side by side.

    Args:
        entries: at least one; the others' differences are to the first.
        figure: what is shown, such as `sq`; None: the main figure of each entry's task.

    Raises:
        ConcatError: no entry has that figure.
    """
    if figure is not None:
        _check_figure(entries, figure)
    shown = [figure or MAIN_FIGURE[entry.task] for entry in entries]
    values = [
        {group: entry.groups.get(group, {}).get(name) for group in GROUPS}
        for entry, name in zip(entries, shown, strict=True)
    ]
    used = tuple(g for g in GROUPS if any(of_entry[g] is not None for of_entry in values))
    groups = (*GENERALISED, *(g for g in used if g not in GENERALISED)) if set(used) & set(GENERALISED) else used
    rows = [
        Row(
            entry,
            name,
            {group: of_entry[group] for group in groups},
            {
                group: _difference(of_entry[group], values[0][group]) if index and name == shown[0] else None
                for group in groups
            },
        )
        for index, (entry, name, of_entry) in enumerate(zip(entries, shown, values, strict=True))
    ]
    return Comparison(groups, tuple(rows), tuple(_warnings(entries)))


def _check_figure(entries: Sequence[Entry], figure: str) -> None:
    known = dict.fromkeys(name for entry in entries for figures in entry.groups.values() for name in figures)
    if figure not in known or figure == "n":
        raise ConcatError(
            f"None of these has the figure {figure!r}.", mend=f"They have: {', '.join(k for k in known if k != 'n')}."
        )


def _difference(value: float | None, first: float | None) -> float | None:
    return None if value is None or first is None else value - first


def _warnings(entries: Sequence[Entry]) -> list[str]:
    """What makes figures incomparable, in words."""
    found = []
    for what, values, why in (
        ("tasks", [e.task for e in entries], "their figures measure different things"),
        ("candidate sets", [e.candidates for e in entries], "among unseen names alone it is easier to be right"),
        (
            "protocols",
            [e.protocol.upper() for e in entries if e.protocol],
            "ZPS drops training images with unseen pixels, ZSS keeps them and ignores those pixels",
        ),
        ("categories", [e.vocabulary for e in entries if e.vocabulary], "the figures are means over different names"),
    ):
        distinct = list(dict.fromkeys(values))
        if len(distinct) > 1:
            found.append(f"Different {what} side by side ({', '.join(distinct)}): {why}.")
    started = [entry.name for entry in entries if entry.zero_shot is False]
    if started:
        found.append(f"{NOT_ZERO_SHOT.capitalize()}: {', '.join(started)}; {WHY_NOT_ZERO_SHOT}.")
    for what, unknown in (
        ("protocol", [e.name for e in entries if not e.protocol]),
        ("categories", [e.name for e in entries if not e.vocabulary]),
    ):
        if 0 < len(unknown) < len(entries):
            found.append(f"The {what} behind {', '.join(unknown)} cannot be told from the file.")
    return found
