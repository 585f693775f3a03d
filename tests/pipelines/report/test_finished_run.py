import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.report.finished_run import read_categories, read_metrics
from pipelines.report.losses import read_losses
from pipelines.vocabularies.vocabulary import Category, Vocabulary

GROUPS = {"all": {"pq": 30.0, "n": 2}, "seen": {"pq": 40.0, "n": 1}, "unseen": {"pq": None, "n": 0}}
SCORED = {"panoptic": GROUPS}
WORLD = Vocabulary(name="w", categories=(Category(id=1, name="cow"), Category(id=2, name="sky", isthing=False)))


def metrics_file(folder: Path, **changes: Any) -> Path:
    value = {"increment": 1.0, "images": 3, "inductive": SCORED, "inductive_sweep": {"0": SCORED}, **changes}
    path = folder / "metrics.json"
    path.write_text(json.dumps(value))
    return path


def test_metrics_of_an_inductive_run(tmp_path: Path) -> None:
    metrics = read_metrics(metrics_file(tmp_path), "panoptic", "again")
    assert metrics.inductive["unseen"]["pq"] is None
    assert (metrics.transductive, metrics.best, metrics.path) == (None, None, {})
    assert list(metrics.by_increment) == [0.0, 1.0]


def test_metrics_of_a_transductive_run(tmp_path: Path) -> None:
    path = metrics_file(
        tmp_path,
        transductive={"step": 20, **SCORED},
        transductive_best={"step": 10, "note": "chosen", **SCORED},
        finetune_path={"10": SCORED, "20": SCORED},
        novel_only={"inductive": SCORED},
    )
    metrics = read_metrics(path, "panoptic", "again")
    assert (metrics.last_step, metrics.best_step, list(metrics.by_step)) == (20, 10, [10.0, 20.0])
    assert metrics.novel_only["inductive"]["seen"]["pq"] == 40.0


@pytest.mark.parametrize(
    "changes",
    [
        {"inductive": {"semantic": GROUPS}},
        {"inductive": {"panoptic": {"all": {"pq": "high"}}}},
        {"inductive": 3},
        {"increment": "one"},
        {"finetune_path": {"ten": SCORED}},
        {"transductive": []},
    ],
)
def test_damaged_metrics_are_refused_with_the_command_that_mends_them(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(CorruptFileError, match="metrics of a panoptic run") as caught:
        read_metrics(metrics_file(tmp_path, **changes), "panoptic", "again")
    assert caught.value.mend == "again"


def test_categories(tmp_path: Path) -> None:
    path = tmp_path / "categories.csv"
    path.write_text("id,name,thing,unseen,inductive pq,transductive pq\n1,cow,1,1,50.5,\n2,sky,0,0,10,20\n")
    cow, sky = read_categories(path, WORLD, "again")
    assert (cow.isthing, cow.unseen, sky.isthing, sky.unseen) == (True, True, False, False)
    assert cow.figures == {"inductive": {"pq": 50.5}, "transductive": {"pq": None}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id,name\n1,cow\n",
        "id,name,thing,unseen\n1,cow,1,0\n",
        "id,name,thing,unseen,a pq\n1,cow,1,0,x\n2,sky,0,0,1\n",
    ],
)
def test_damaged_categories_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "categories.csv"
    path.write_text(text)
    with pytest.raises(CorruptFileError):
        read_categories(path, WORLD, "again")
    with pytest.raises(ConcatError, match="not found"):
        read_categories(tmp_path / "none.csv", WORLD, "again")


def test_losses_are_averaged_in_blocks_the_sum_first(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"step": 10 * n, "mask": n, "loss": 2 * n, "learning_rate": 1, "seconds_per_step": 1} for n in range(1, 482)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    curves = read_losses(path)
    assert list(curves.terms) == ["loss", "mask"]
    assert curves.steps[:2] == [30, 60]
    assert curves.steps[-1] == 4810
    assert curves.terms["mask"][:2] == [2.0, 5.0]
    assert curves.terms["loss"][-1] == 2 * 481


@pytest.mark.parametrize(
    "text", ['{"step": 1}\n{"loss": 1}\n', "{", '{"step": 1, "loss": NaN}\n', '{"step": 1, "loss": "x"}']
)
def test_damaged_logs_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    with pytest.raises(CorruptFileError):
        read_losses(path)
    with pytest.raises(ConcatError, match="missing"):
        read_losses(tmp_path / "none.jsonl")
