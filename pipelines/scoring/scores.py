"""The result of scoring: one form for every task, whether `eval` or `concat score` made it."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipelines.base.errors import ConcatError
from pipelines.base.terms import Candidates, Task
from pipelines.metrics.groups import Summary
from pipelines.vocabularies.vocabulary import Vocabulary

Finite = Annotated[float, Field(allow_inf_nan=False)]
Figures = dict[str, Finite | int | None]

CANDIDATES: dict[Candidates, str] = {
    "generalised": "all names compete (generalised)",
    "novel-only": "unseen names alone (novel-only)",
}


class CategoryScore(BaseModel):
    """The figures of one category: scores in percent, None where nothing could be scored, and counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int
    name: str
    thing: bool
    unseen: bool
    figures: Figures


class Scores(BaseModel):
    """How good predictions are; no figure is NaN or infinite.

    Attributes:
        candidates: what a prediction could be: "generalised" (any name) or "novel-only" (unseen names alone).
        vocabulary: its name, or that of the json the categories were taken from.
        images: number of images scored, the missing ones among them.
        missing: names of images that had no prediction and were counted as empty.
        remarks: what was read in a way that may surprise, a sentence each.
        zero_shot: False where the start of the model that predicted knew, or may have known, unseen categories; None:
            nothing is said.
        groups: group → figure → percent (None where the group is empty); "n" counts the categories behind it.
        categories: every category that may be predicted, in the vocabulary's order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Task
    candidates: Candidates
    vocabulary: str
    images: int = Field(ge=0)
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    zero_shot: bool | None = None
    groups: dict[str, Figures]
    categories: tuple[CategoryScore, ...]

    def to_csv(self) -> str:
        """Groups, then categories, one a row; figures in percent, unrounded, empty where there is none."""
        rows: list[tuple[list[object], Figures]] = [
            (["group", name, "", "", ""], figures) for name, figures in self.groups.items()
        ]
        rows += [(["category", c.name, c.id, int(c.thing), int(c.unseen)], c.figures) for c in self.categories]
        columns = list(dict.fromkeys(name for _, figures in rows for name in figures))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["kind", "name", "id", "thing", "unseen", *columns])
        for head, figures in rows:
            writer.writerow([*head, *(figures.get(column) for column in columns)])
        return text.getvalue()


def candidates_of(vocabulary: Vocabulary, candidates: Candidates) -> Vocabulary:
    """The categories that may be predicted and are scored.

    Raises:
        ConcatError: the unseen ones alone are asked for and there are none.
    """
    if candidates == "generalised":
        return vocabulary
    if not len(vocabulary.unseen):
        raise ConcatError(
            f"The vocabulary {vocabulary.name} marks no category as unseen, so there is nothing to score novel-only.",
            mend="Give --vocabulary with unseen categories, or --candidates generalised.",
        )
    return vocabulary.unseen


def state_scores(
    task: Task,
    vocabulary: Vocabulary,
    summary: Summary,
    figures: Mapping[int, Figures],
    *,
    images: int,
    candidates: Candidates,
    missing: Sequence[str],
) -> Scores:
    """Puts group and category figures into the common form.

    Groups that say nothing are left out: seen, unseen and their harmonic mean where the vocabulary has only one of
    the two, and all but unseen where unseen names compete alone.

    Args:
        summary: figures of all groups, in percent.
        figures: category id → its figures, for every category that may be predicted.
    """
    if candidates == "novel-only":
        groups = ["unseen"]
    else:
        generalised = len(vocabulary.seen) and len(vocabulary.unseen)
        groups = ["all", "things", "stuff"] + (["seen", "unseen", "harmonic"] if generalised else [])
    return Scores(
        task=task,
        candidates=candidates,
        vocabulary=vocabulary.name,
        images=images,
        missing=tuple(missing),
        groups={group: summary[group] for group in groups},
        categories=tuple(
            CategoryScore(id=c.id, name=c.name, thing=c.isthing, unseen=c.unseen, figures=figures[c.id])
            for c in candidates_of(vocabulary, candidates).categories
        ),
    )
