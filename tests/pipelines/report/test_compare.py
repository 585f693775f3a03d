"""Entries read from runs, scores and published tables; differences, warnings, json and csv."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.report.compare import Entry, compare, read_entries

GROUPS: dict[str, Any] = {
    "all": {"pq": 50.0, "sq": 80.0, "n": 4},
    "things": {"pq": None, "sq": None, "n": 0},
    "stuff": {"pq": 50.0, "sq": 80.0, "n": 4},
    "seen": {"pq": 60.0, "sq": 81.0, "n": 2},
    "unseen": {"pq": 30.0, "sq": 79.0, "n": 2},
    "harmonic": {"pq": 40.0, "sq": 80.0, "n": None},
}
METRICS: dict[str, Any] = {
    "task": "panoptic",
    "protocol": "zps",
    "vocabulary": "coco_panoptic",
    "candidates": "all names compete (generalised)",
    "images": 7,
    "inductive": {"panoptic": GROUPS},
    "transductive": {"step": 3, "panoptic": GROUPS | {"unseen": {"pq": 35.0, "sq": 79.0, "n": 2}}},
    "transductive_best": {"step": 2, "note": "chosen on this test set", "panoptic": GROUPS},
}
SCORES = {
    "task": "semantic",
    "candidates": "novel-only",
    "vocabulary": "voc20",
    "images": 3,
    "missing": ["a.png"],
    "groups": {"unseen": {"miou": 12.5, "pacc": 30.0, "n": 5}},
    "categories": [],
}


def run(folder: Path, metrics: Any = METRICS) -> Path:
    (folder / "eval").mkdir(parents=True)
    text = metrics if isinstance(metrics, str) else json.dumps(metrics)
    (folder / "eval" / "metrics.json").write_text(text)
    return folder


def test_a_run_is_its_inductive_and_its_transductive_scores(tmp_path: Path) -> None:
    folder = run(tmp_path / "run")
    inductive, transductive = read_entries(str(folder))
    assert inductive == Entry(
        name=f"{folder}:inductive", task="panoptic", candidates="generalised", setting="inductive", protocol="zps",
        vocabulary="coco_panoptic", about="7 images", groups=GROUPS,
    )  # fmt: skip
    assert transductive.groups["unseen"]["pq"] == 35.0


@pytest.mark.parametrize("setting", ["inductive", "transductive", "transductive_best"])
def test_one_setting_of_a_run_can_be_chosen(setting: str, tmp_path: Path) -> None:
    (entry,) = read_entries(f"{run(tmp_path / 'run')}:{setting}")
    assert entry.name.endswith(f"run:{setting}")
    assert entry.setting == setting.removesuffix("_best")
    assert ("best iterate on this test set" in entry.about) == setting.endswith("_best")


def test_an_evaluation_on_another_data_set_is_named_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "eval-voc20").mkdir()
    (tmp_path / "eval-voc20" / "metrics.json").write_text(json.dumps(METRICS))
    assert len(read_entries(str(tmp_path / "eval-voc20"))) == 2


def test_scores_of_concat_score_are_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(SCORES))
    (entry,) = read_entries(str(path))
    assert (entry.task, entry.candidates, entry.vocabulary) == ("semantic", "novel-only", "voc20")
    assert (entry.protocol, entry.setting, entry.about) == (None, None, "3 images, 1 without prediction")


def test_a_published_row_says_its_conditions_and_source() -> None:
    (entry,) = read_entries("concat-zss-coco-stuff-r50")
    assert (entry.protocol, entry.setting, entry.vocabulary) == ("zss", "transductive", "coco_stuff")
    assert entry.about == (
        "CONCAT, ResNet-50, COCO-Stuff 164k 156/15, 24 frames/s, the best iterate of finetuning on the test set; "
        "CONCAT (Chen et al. 2024), table 2"
    )


def test_differences_are_to_the_first(tmp_path: Path) -> None:
    entries = [*read_entries(str(run(tmp_path / "run"))), *read_entries("concat-zps-transductive")]
    comparison = compare(entries)
    assert comparison.groups == ("seen", "unseen", "harmonic", "all", "stuff")
    first, second, published = comparison.rows
    assert set(first.differences.values()) == {None}
    assert second.differences == {"seen": 0.0, "unseen": 5.0, "harmonic": 0.0, "all": 0.0, "stuff": 0.0}
    assert published.values == {"seen": 39.2, "unseen": 21.2, "harmonic": 27.5, "all": None, "stuff": None}
    assert published.differences["seen"] == pytest.approx(39.2 - 60.0)
    assert published.differences["all"] is None
    assert comparison.warnings == ()


def test_another_figure_can_be_compared(tmp_path: Path) -> None:
    comparison = compare(read_entries(str(run(tmp_path / "run"))), "sq")
    assert [row.values["seen"] for row in comparison.rows] == [81.0, 81.0]


@pytest.mark.parametrize("figure", ["miou", "n", ""])
def test_a_figure_that_none_has_is_refused_with_those_they_have(figure: str) -> None:
    with pytest.raises(ConcatError, match="None of these has the figure") as error:
        compare(read_entries("pading-zps-full"), figure)
    assert error.value.mend == "They have: pq, sq, rq."


def test_what_cannot_be_compared_is_said_in_words(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(SCORES))
    names = ["concat-zps-inductive", "concat-zss-coco-stuff-r50", str(path)]
    comparison = compare([entry for name in names for entry in read_entries(name)])
    assert [warning.split(":")[0] for warning in comparison.warnings] == [
        "Different tasks side by side (panoptic, semantic)",
        "Different candidate sets side by side (generalised, novel-only)",
        "Different protocols side by side (ZPS, ZSS)",
        "Different categories side by side (coco_panoptic, coco_stuff, voc20)",
        f"The protocol behind {path} cannot be told from the file.",
    ]
    assert all(value is None for row in comparison.rows for value in row.differences.values())
    assert comparison.groups == ("seen", "unseen", "harmonic")


def test_json_and_csv_hold_the_whole_comparison() -> None:
    comparison = compare(read_entries("concat-zps"))
    assert json.loads(json.dumps(comparison.to_json()))["rows"][1]["values"]["harmonic"] == 27.5
    inductive, transductive = csv.DictReader(io.StringIO(comparison.to_csv()))
    assert (inductive["name"], inductive["harmonic"]) == ("concat-zps-inductive", "20.8")
    assert inductive["harmonic difference"] == ""
    assert float(transductive["harmonic difference"]) == pytest.approx(6.7)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ('{"inductive": ', "Not valid JSON"),
        ("[]", "its settings hold no scores"),
        ({}, "it lacks 'inductive'"),
        (METRICS | {"inductive": {}}, "its settings hold no scores"),
        (METRICS | {"inductive": 3}, "its settings hold no scores"),
        (METRICS | {"candidates": "some"}, "it lacks 'some'"),
        (METRICS | {"inductive": {"panoptic": {"seen": {"pq": "high"}}}}, "groups.seen.pq"),
        (METRICS | {"inductive": {"panoptic": {"seen": {"pq": float("nan")}}}}, "groups.seen.pq"),
    ],
)
def test_a_damaged_evaluation_is_refused(metrics: Any, message: str, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", metrics)
    with pytest.raises(CorruptFileError, match=message) as error:
        read_entries(str(folder))
    assert error.value.file == folder / "eval" / "metrics.json"
    assert error.value.mend


@pytest.mark.parametrize("text", ["{", "[1]", "{}", json.dumps(SCORES | {"images": -1})])
def test_damaged_scores_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(CorruptFileError) as error:
        read_entries(str(path))
    assert error.value.file == path


def test_a_run_that_is_not_evaluated_says_how_to_evaluate_it(tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match="no evaluated run") as error:
        read_entries(str(tmp_path))
    assert error.value.mend == f"Evaluate it: concat eval --run {tmp_path}"


def test_an_unknown_setting_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match="no setting 'best'") as error:
        read_entries(f"{run(tmp_path / 'run')}:best")
    assert error.value.mend is not None
    assert ":inductive or :transductive or :transductive_best" in error.value.mend


def test_what_is_nothing_is_refused_with_the_nearest_published_result() -> None:
    with pytest.raises(ConcatError, match="'concat-zsp' is no run directory, no json of scores and no") as error:
        read_entries("concat-zsp")
    assert error.value.mend is not None
    assert "concat-zps-inductive" in error.value.mend
    with pytest.raises(ConcatError, match="File not found"):
        read_entries("missing.json")
