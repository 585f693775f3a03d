"""The one form of scores: which groups are stated, and that no figure is NaN."""

import csv
import io
import math

import pytest
from panoptic_world import STUFF, THING, UNSEEN, VOCABULARY
from pydantic import ValidationError

from pipelines.base.errors import ConcatError
from pipelines.metrics.panoptic_quality import CategoryCounts
from pipelines.scoring.panoptic import panoptic_scores
from pipelines.scoring.scores import Scores

COUNTS = {
    THING: CategoryCounts(iou=0.75, tp=1, fp=1),
    STUFF: CategoryCounts(iou=1.0, tp=1),
    UNSEEN: CategoryCounts(fn=1),
}


def test_groups_and_categories_are_percent_and_absent_categories_have_none() -> None:
    scores = panoptic_scores(COUNTS, VOCABULARY, images=3)
    assert list(scores.groups) == ["all", "things", "stuff", "seen", "unseen", "harmonic"]
    assert scores.groups["all"] == pytest.approx({"pq": 50.0, "sq": 175 / 3, "rq": 500 / 9, "n": 3}, abs=1e-12)
    assert scores.groups["harmonic"]["pq"] == 0.0
    assert [c.name for c in scores.categories] == VOCABULARY.names
    cat = {"pq": 50.0, "sq": 75.0, "rq": 200 / 3, "tp": 1, "fp": 1, "fn": 0}
    assert scores.categories[0].figures == pytest.approx(cat, abs=1e-12)
    assert scores.categories[1].figures == {"pq": None, "sq": None, "rq": None, "tp": 0, "fp": 0, "fn": 0}


def test_seen_and_unseen_are_stated_only_where_there_are_both() -> None:
    for vocabulary in (VOCABULARY.seen, VOCABULARY.unseen):
        scores = panoptic_scores(COUNTS, vocabulary, images=3)
        assert list(scores.groups) == ["all", "things", "stuff"]


def test_novel_only_states_unseen_categories_alone() -> None:
    scores = panoptic_scores(COUNTS, VOCABULARY, images=3, candidates="novel-only")
    assert list(scores.groups) == ["unseen"]
    assert [c.id for c in scores.categories] == [UNSEEN]
    with pytest.raises(ConcatError, match="marks no category as unseen"):
        panoptic_scores(COUNTS, VOCABULARY.seen, images=3, candidates="novel-only")


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_no_number_is_refused(wrong: float) -> None:
    good = panoptic_scores(COUNTS, VOCABULARY, images=3).model_dump()
    Scores.model_validate(good)
    for broken in (
        {**good, "groups": {"all": {"pq": wrong}}},
        {**good, "categories": [{**good["categories"][0], "figures": {"pq": wrong}}]},
    ):
        with pytest.raises(ValidationError):
            Scores.model_validate(broken)


def test_json_comes_back_as_it_went() -> None:
    scores = panoptic_scores(COUNTS, VOCABULARY, images=3, missing=["a.jpg"])
    back = Scores.model_validate_json(scores.model_dump_json())
    assert back == scores
    assert isinstance(back.groups["all"]["n"], int)
    assert isinstance(back.groups["all"]["pq"], float)


def test_csv_holds_groups_and_categories_unrounded() -> None:
    scores = panoptic_scores(COUNTS, VOCABULARY, images=3)
    rows = list(csv.DictReader(io.StringIO(scores.to_csv())))
    assert [row["kind"] for row in rows] == ["group"] * 6 + ["category"] * 4
    assert float(rows[0]["sq"]) == 175 / 3
    assert rows[0]["tp"] == ""
    cow = [rows[-1][column] for column in ("name", "id", "thing", "unseen", "pq", "fn")]
    assert cow == ["cow", "21", "1", "1", "0.0", "1"]
