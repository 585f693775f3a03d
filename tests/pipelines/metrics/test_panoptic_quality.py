"""Panoptic quality against panopticapi, a slow reference of its rules, hotcoco and published values.

panopticapi itself runs where it is installed: `pip install --no-deps panopticapi-lite`, since it asks for numpy 1.
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hotcoco.panoptic import PanopticEval
from shared_data import shared_data

from pipelines.base.errors import ConcatError
from pipelines.data.formats.panoptic_png import read_panoptic_png, write_panoptic_png
from pipelines.metrics.panoptic_quality import (
    CategoryCounts,
    ImageScore,
    PredictedSegment,
    TruthSegment,
    score_image,
    summarise,
    total,
)
from pipelines.metrics.segment_runs import SegmentRuns, runs_of

CATEGORIES = (2, 3, 7, 11, 12, 20)
GROUPS = {"all": CATEGORIES, "things": (2, 3, 7), "stuff": (11, 12, 20), "seen": (2, 3, 11, 12), "unseen": (7, 20)}


@dataclass
class Case:
    truth_ids: np.ndarray | SegmentRuns
    truth: list[TruthSegment]
    predicted_ids: np.ndarray | SegmentRuns
    predicted: list[PredictedSegment]

    def score(self, categories: Iterable[int] = CATEGORIES) -> ImageScore:
        return score_image(
            self.truth_ids, self.truth, self.predicted_ids, self.predicted, categories=set(categories), image="a.png"
        )


def random_case(rng: np.random.Generator) -> Case:
    """Rectangles as truth, the same ones moved, swallowed, relabelled or void as prediction, and a few new ones."""
    height, width = rng.integers(6, 24, 2)
    categories = rng.choice(CATEGORIES, rng.integers(1, 6))
    truth_ids = np.zeros((height, width), np.int32)
    predicted_ids = np.zeros((height, width), np.int32)
    names = rng.choice(2**24 - 1, 40, replace=False) + 1
    truth_categories, predicted_categories = {}, {}
    for name in names[: rng.integers(1, 12)].tolist():
        y, x = rng.integers(0, height), rng.integers(0, width)
        h, w = rng.integers(1, height + 1), rng.integers(1, width + 1)
        truth_ids[y : y + h, x : x + w] = name
        truth_categories[name] = int(rng.choice(categories))
        if rng.random() < 0.85:
            move_y, move_x = rng.integers(-1, 2, 2) * (rng.random() < 0.5)
            guess = int(rng.choice(names))
            predicted_ids[max(y + move_y, 0) : y + h, max(x + move_x, 0) : x + w] = guess
            is_right = rng.random() < 0.8
            predicted_categories[guess] = truth_categories[name] if is_right else int(rng.choice(CATEGORIES))
    truth_ids[rng.random(truth_ids.shape) < rng.choice([0, 0.1, 0.5])] = 0
    if rng.random() < 0.2:
        truth_ids[: height // 2] = 0

    present, areas = np.unique(truth_ids, return_counts=True)
    truth = []
    for name, area in rng.permutation(np.stack([present, areas], 1)).tolist():
        if name and rng.random() < 0.95:
            stated = area if rng.random() < 0.9 else area + int(rng.integers(0, 4))
            truth.append(TruthSegment(name, truth_categories[name], stated, bool(rng.random() < 0.25)))
    guessed = rng.permutation([name for name in np.unique(predicted_ids) if name])
    predicted = [PredictedSegment(int(name), predicted_categories[int(name)]) for name in guessed]
    return Case(truth_ids, truth, predicted_ids, predicted)


def reference(cases: list[Case]) -> dict[int, list[float]]:
    """Category → [sum of IoU, TP, FP, FN], mask by mask, by panopticapi's rules."""
    stat = {category: [0.0, 0, 0, 0] for category in CATEGORIES}
    for case in cases:
        void = case.truth_ids == 0
        matched = set()
        for truth in sorted(case.truth):
            truth_mask = case.truth_ids == truth.id
            for guess in sorted(case.predicted):
                mask = case.predicted_ids == guess.id
                if truth.iscrowd or guess.category_id != truth.category_id or not (truth_mask & mask).any():
                    continue
                overlap = int((truth_mask & mask).sum())
                iou = overlap / (int(mask.sum()) - int((mask & void).sum()) + truth.area - overlap)
                if iou > 0.5:
                    stat[truth.category_id][0] += iou
                    stat[truth.category_id][1] += 1
                    matched |= {("truth", truth.id), ("guess", guess.id)}
        for truth in case.truth:
            if not truth.iscrowd and ("truth", truth.id) not in matched:
                stat[truth.category_id][3] += 1
        for guess in case.predicted:
            if ("guess", guess.id) in matched:
                continue
            mask = case.predicted_ids == guess.id
            excused = int((mask & void).sum())
            crowds = [truth for truth in case.truth if truth.iscrowd and truth.category_id == guess.category_id]
            if crowds:
                excused += int((mask & (case.truth_ids == crowds[-1].id)).sum())
            if excused / int(mask.sum()) <= 0.5:
                stat[guess.category_id][2] += 1
    return stat


def reference_means(stat: dict[int, list[float]], members: Iterable[int]) -> dict[str, float | int | None]:
    pq = sq = rq = 0.0
    n = 0
    for category in members:
        iou, tp, fp, fn = stat[category]
        if tp + fp + fn == 0:
            continue
        n += 1
        pq += iou / (tp + 0.5 * fp + 0.5 * fn)
        sq += iou / tp if tp else 0.0
        rq += tp / (tp + 0.5 * fp + 0.5 * fn)
    return {"pq": 100 * pq / n, "sq": 100 * sq / n, "rq": 100 * rq / n, "n": n} if n else {**NOTHING, "n": 0}


NOTHING = {"pq": None, "sq": None, "rq": None}


def assert_equal(got: dict, expected: dict) -> None:
    for key, value in expected.items():
        assert got[key] == (value if value is None else pytest.approx(value, rel=0, abs=1e-12 * 100)), key


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = {"tp": 0, "fp": 0, "fn": 0, "crowd": 0, "absent": 0}
    for _ in range(60):
        cases = [random_case(rng) for _ in range(rng.integers(1, 5))]
        stat, counts = reference(cases), total(case.score() for case in cases)
        for category in CATEGORIES:
            sums = counts.get(category, CategoryCounts())
            assert [sums.iou, sums.tp, sums.fp, sums.fn] == stat[category]  # IoU sums bit for bit
        summary = summarise(counts, GROUPS)
        for group, members in GROUPS.items():
            assert_equal(summary[group], reference_means(stat, members))
        for key in ("tp", "fp", "fn"):
            seen[key] += sum(getattr(sums, key) for sums in counts.values())
        seen["crowd"] += sum(truth.iscrowd for case in cases for truth in case.truth)
        seen["absent"] += len(CATEGORIES) - len(counts)
    assert min(seen.values()) > 30  # the cases are not idle


def write_dataset(folder: Path, cases: list[Case]) -> tuple[Path, Path]:
    """Writes the cases as COCO-panoptic truth and prediction."""
    categories = [{"id": c, "name": f"c{c}", "isthing": int(c in GROUPS["things"])} for c in CATEGORIES]
    images = [
        {"id": i, "file_name": f"{i}.jpg", "height": case.truth_ids.shape[0], "width": case.truth_ids.shape[1]}
        for i, case in enumerate(cases)
    ]
    for part in ("truth", "predicted"):
        annotations = []
        for i, case in enumerate(cases):
            write_panoptic_png(folder / part / f"{i}.png", case.truth_ids if part == "truth" else case.predicted_ids)
            segments = [segment._asdict() for segment in (case.truth if part == "truth" else case.predicted)]
            for segment in segments:
                segment["iscrowd"] = int(segment.get("iscrowd", 0))
            annotations.append({"image_id": i, "file_name": f"{i}.png", "segments_info": segments})
        content = {"images": images, "categories": categories, "annotations": annotations}
        (folder / f"{part}.json").write_text(json.dumps(content))
    return folder / "truth.json", folder / "predicted.json"


@pytest.mark.parametrize("seed", range(2))
def test_equals_panopticapi(tmp_path: Path, seed: int) -> None:
    evaluation = pytest.importorskip("panopticapi.evaluation")
    rng = np.random.default_rng(200 + seed)
    cases = [random_case(rng) for _ in range(270)]
    truth, predicted = (json.loads(path.read_bytes()) for path in write_dataset(tmp_path, cases))
    categories = {category["id"]: category for category in truth["categories"]} | {99: {"id": 99, "isthing": 1}}
    pairs = list(zip(truth["annotations"], predicted["annotations"], strict=True))
    stat = evaluation.pq_compute_single_core(0, pairs, tmp_path / "truth", tmp_path / "predicted", categories)
    means, per_category = stat.pq_average(categories, isthing=None)
    counts = total(case.score() for case in cases)
    for category, theirs in per_category.items():
        ours = counts.get(category, CategoryCounts())
        for key in ("pq", "sq", "rq"):
            assert getattr(ours, key) == pytest.approx(theirs[key], rel=0, abs=1e-12)
    assert not counts.get(99, CategoryCounts()).present
    summary = summarise(counts, {"all": [*categories]})["all"]
    assert summary["n"] == means["n"]
    assert summary["pq"] == pytest.approx(100 * means["pq"], rel=0, abs=1e-10)


def test_a_truth_kept_as_runs_scores_the_same() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        case = random_case(rng)
        kept = dataclasses.replace(case, truth_ids=runs_of(case.truth_ids), predicted_ids=runs_of(case.predicted_ids))
        assert kept.score() == case.score()


@pytest.mark.parametrize("seed", range(6))
def test_equals_hotcoco(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    cases = [random_case(rng) for _ in range(12)]
    evaluation = PanopticEval(*write_dataset(tmp_path, cases))
    evaluation.evaluate()
    theirs = evaluation.results()
    ours = summarise(total(case.score() for case in cases), GROUPS)
    for group, name in (("all", "All"), ("things", "Things"), ("stuff", "Stuff")):
        for key in ("pq", "sq", "rq"):
            assert ours[group][key] == pytest.approx(100 * theirs[name][key], rel=0, abs=1e-10)
        assert ours[group]["n"] == theirs[name]["n"]


def read_case(truth_json: Path, predicted_json: Path, truth_png: Path, predicted_png: Path) -> tuple[list[Case], dict]:
    truth, predicted = (json.loads(path.read_bytes()) for path in (truth_json, predicted_json))
    cases = []
    for a, b in zip(truth["annotations"], predicted["annotations"], strict=True):
        truths = [TruthSegment(s["id"], s["category_id"], s["area"], bool(s["iscrowd"])) for s in a["segments_info"]]
        guesses = [PredictedSegment(s["id"], s["category_id"]) for s in b["segments_info"]]
        ids = read_panoptic_png(truth_png / a["file_name"]), read_panoptic_png(predicted_png / b["file_name"])
        cases.append(Case(ids[0], truths, ids[1], guesses))
    return cases, {category["id"]: bool(category["isthing"]) for category in truth["categories"]}


def test_equals_the_published_values_of_mmdetection() -> None:
    folder = shared_data("pq_oracle_small")
    expected = json.loads((folder / "expected.json").read_bytes())["mmdet"]
    case = folder / "mmdet"
    cases, isthing = read_case(case / "gt.json", case / "pred.json", case / "gt", case / "pred")
    groups = {
        "all": [*isthing],
        "things": [c for c in isthing if isthing[c]],
        "stuff": [c for c in isthing if not isthing[c]],
    }
    summary = summarise(total(case.score(isthing) for case in cases), groups)
    for group, suffix in (("all", ""), ("things", "_th"), ("stuff", "_st")):
        for key in ("pq", "sq", "rq"):
            assert summary[group][key] == pytest.approx(expected[key.upper() + suffix], rel=0, abs=1e-12 * 100)


def test_real_truth_against_itself_is_perfect() -> None:
    folder = shared_data("coco_panoptic_100train") / "annotations"
    path, png = folder / "panoptic_train2017.json", folder / "panoptic_train2017"
    cases, isthing = read_case(path, path, png, png)
    assert sum(truth.iscrowd for case in cases for truth in case.truth) == 6
    summary = summarise(total(case.score(isthing) for case in cases), {"all": [*isthing]})
    assert summary["all"] == {"pq": 100.0, "sq": 100.0, "rq": 100.0, "n": 119}


def test_by_hand() -> None:
    # Two rows of ten; id 1 is void's neighbour, 6 px each; the prediction loses one pixel of it and wins two of void.
    truth_ids = np.array([[1] * 6 + [0] * 4, [2] * 10])
    predicted_ids = np.array([[5] * 5 + [0] + [5] * 2 + [0] * 2, [6] * 4 + [7] * 6])
    case = Case(
        truth_ids,
        [TruthSegment(1, 2, 6), TruthSegment(2, 11, 10)],
        predicted_ids,
        [PredictedSegment(5, 2), PredictedSegment(6, 11), PredictedSegment(7, 11)],
    )
    score = case.score()
    assert score.ious == {2: [5 / 6], 11: [6 / 10]}  # void leaves the union
    assert score.false_positives == {11: 1}
    assert score.false_negatives == {}
    summary = summarise(total([score]), GROUPS)
    assert summary["seen"]["pq"] == pytest.approx(100 * (5 / 6 + 0.6 / 1.5) / 2)
    assert summary["seen"]["n"] == 2
    assert summary["unseen"] == {**NOTHING, "n": 0}
    assert summary["harmonic"] == {**NOTHING, "n": None}


def test_an_iou_of_one_half_is_no_match() -> None:
    case = Case(np.array([[1, 1]]), [TruthSegment(1, 2, 2)], np.array([[1, 0]]), [PredictedSegment(1, 2)])
    assert case.score() == ImageScore({}, {2: 1}, {2: 1})


def test_the_last_crowd_of_a_category_excuses() -> None:
    ids = np.array([[1, 1, 1, 2, 2, 2]])
    first, second = TruthSegment(1, 2, 3, True), TruthSegment(2, 2, 3, True)
    predicted = np.array([[4, 4, 4, 0, 0, 0]])
    assert Case(ids, [second, first], predicted, [PredictedSegment(4, 2)]).score() == ImageScore()
    assert Case(ids, [first, second], predicted, [PredictedSegment(4, 2)]).score() == ImageScore({}, {2: 1}, {})


def test_an_unlisted_truth_id_is_neither_void_nor_a_segment() -> None:
    case = Case(np.array([[9, 9, 9]]), [], np.array([[4, 4, 4]]), [PredictedSegment(4, 2)])
    assert case.score() == ImageScore({}, {2: 1}, {})


def test_the_stated_area_counts() -> None:
    case = Case(np.array([[1, 1, 1]]), [TruthSegment(1, 2, 4)], np.array([[4, 4, 4]]), [PredictedSegment(4, 2)])
    assert case.score().ious == {2: [0.75]}


def test_scores_survive_json() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        score = random_case(rng).score()
        assert ImageScore.from_json(json.loads(json.dumps(score.to_json()))) == score


def test_harmonic_is_taken_of_each_score() -> None:
    counts = {2: CategoryCounts(iou=3.0, tp=4, fp=2, fn=2), 7: CategoryCounts(iou=0.9, tp=1, fp=1, fn=1)}
    summary = summarise(counts, GROUPS)
    assert summary["seen"] == pytest.approx({"pq": 50.0, "sq": 75.0, "rq": 100 * 4 / 6, "n": 1})
    assert summary["unseen"] == pytest.approx({"pq": 45.0, "sq": 90.0, "rq": 50.0, "n": 1})
    assert summary["harmonic"]["pq"] == pytest.approx(2 * 50 * 45 / 95)
    assert summary["harmonic"]["sq"] == pytest.approx(2 * 75 * 90 / 165)
    assert summary["harmonic"]["rq"] == pytest.approx(2 * 50 * (200 / 3) / (50 + 200 / 3))
    assert summary["harmonic"]["n"] is None


ONE = np.array([[1, 1]])


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case(ONE, [TruthSegment(1, 2, 2)], ONE, []), "segment 1 in its PNG but not in its json"),
        (
            Case(ONE, [TruthSegment(1, 2, 2)], ONE, [PredictedSegment(1, 2), PredictedSegment(8, 2)]),
            "segment 8 in its json but not in its PNG",
        ),
        (Case(ONE, [TruthSegment(1, 2, 2)], ONE, [PredictedSegment(1, 99)]), "prediction .* unknown category 99"),
        (Case(ONE, [TruthSegment(1, 99, 2)], ONE, [PredictedSegment(1, 2)]), "truth .* unknown category 99"),
        (Case(ONE, [TruthSegment(1, 2, 2)] * 2, ONE, [PredictedSegment(1, 2)]), "lists 1 twice"),
        (Case(ONE, [TruthSegment(1, 2, 0)], ONE, [PredictedSegment(1, 2)]), "area of segment 1 .* too small"),
        (Case(ONE.T, [TruthSegment(1, 2, 2)], ONE, [PredictedSegment(1, 2)]), "1×2 and 2×1 px"),
        (Case(runs_of(ONE.T), [TruthSegment(1, 2, 2)], ONE, [PredictedSegment(1, 2)]), "1×2 and 2×1 px"),
    ],
)
def test_mistakes_name_the_image(case: Case, message: str) -> None:
    with pytest.raises(ConcatError, match=message) as caught:
        case.score()
    assert "a.png" in caught.value.message


def test_an_area_that_is_not_stated_is_counted() -> None:
    stated, counted = (
        Case(np.array([[1, 1, 0]]), [TruthSegment(1, 2, area)], np.array([[1, 0, 0]]), [PredictedSegment(1, 2)]).score()
        for area in (2, None)
    )
    assert stated == counted


def test_segments_with_the_id_of_void_count_as_in_panopticapi() -> None:
    full, half = np.array([[1, 1, 1]]), np.array([[1, 1, 0]])
    one, void = [PredictedSegment(1, 2)], PredictedSegment(0, 2)
    in_truth = Case(full, [TruthSegment(1, 2, 3), TruthSegment(0, 2, 5)], full, [*one, void]).score()
    assert (in_truth.ious, in_truth.false_negatives, in_truth.false_positives) == ({2: [1.0]}, {2: 1}, {})
    predicted = Case(half, [TruthSegment(1, 2, 2)], half, [*one, void]).score()  # all of it lies in void
    assert (predicted.ious, predicted.false_negatives, predicted.false_positives) == ({2: [1.0]}, {}, {})
    elsewhere = Case(full, [TruthSegment(1, 2, 3)], half, [*one, void]).score()
    assert elsewhere.false_positives == {2: 1}
