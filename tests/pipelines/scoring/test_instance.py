"""Instances in files against pycocotools itself, and what a smaller vocabulary leaves out."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from panoptic_world import VOCABULARY
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scoring_world import edit, write_instance_pair
from shared_data import shared_data

from pipelines.scoring.instance import score_instances
from pipelines.vocabularies.vocabulary import load_vocabulary


def _noisy_results(truth: COCO) -> list[dict]:
    rng = np.random.default_rng(0)
    results = []
    for annotation in truth.loadAnns(truth.getAnnIds()):
        moved = np.roll(truth.annToMask(annotation), rng.integers(-8, 9, 2), (0, 1))
        rle = dict(zip(("size", "counts"), _encoded(moved), strict=True))
        label = annotation["category_id"] if rng.random() < 0.8 else int(rng.choice(truth.getCatIds()))
        result = {"image_id": annotation["image_id"], "category_id": label, "segmentation": rle}
        results += [{**result, "score": float(score)} for score in rng.random(rng.integers(0, 3))]
    return results


def _encoded(mask: np.ndarray) -> tuple[list[int], str]:
    from pycocotools import mask as coco_mask

    rle = coco_mask.encode(np.asfortranarray(mask))
    return rle["size"], rle["counts"].decode()


def _pycocotools(truth: COCO, results: list[dict], kind: str, categories: list[int]) -> dict[int, tuple[float, float]]:
    """category → AP and AP50 in percent, as published tools print them."""
    evaluation = COCOeval(truth, truth.loadRes([dict(result) for result in results]), kind)
    evaluation.params.catIds = categories
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return {
        category: (100 * precision[:, :, k].mean(), 100 * precision[0, :, k].mean())
        for k, category in enumerate(categories)
        if precision[:, :, k].max() > -1
    }


@pytest.mark.parametrize("vocabulary", ["coco_panoptic", "coco_instances_48_17"])
def test_real_instances_score_as_pycocotools_scores_them(tmp_path: Path, vocabulary: str) -> None:
    path = shared_data("coco_instances_tiny38") / "annotations/instances_train2017.json"
    chosen = load_vocabulary(vocabulary)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        results = _noisy_results(truth)
        results = [result for result in results if result["category_id"] in chosen.ids]
        ids = [id for id in chosen.ids if id in truth.getCatIds()]
        expected = {kind: _pycocotools(truth, results, kind, ids) for kind in ("segm", "bbox")}
    (tmp_path / "results.json").write_text(json.dumps(results))
    scores = score_instances(path, tmp_path / "results.json", vocabulary=chosen)
    assert scores.images == 32
    for name, kind in (("mask", "segm"), ("box", "bbox")):
        found = {c.id: c.figures for c in scores.categories if c.figures[f"{name}_ap"] is not None}
        assert found.keys() == expected[kind].keys()
        for category, (ap, ap50) in expected[kind].items():
            assert found[category][f"{name}_ap"] == pytest.approx(ap, abs=1e-10)
            assert found[category][f"{name}_ap50"] == pytest.approx(ap50, abs=1e-10)
        mean = np.mean([ap for ap, _ in expected[kind].values()])
        assert scores.groups["all"][f"{name}_ap"] == pytest.approx(mean, abs=1e-10)
    assert scores.groups["unseen"]["n"]
    assert scores.groups["all"]["mask_ap"] != scores.groups["all"]["box_ap"]


def test_hand_made_scores(tmp_path: Path) -> None:
    pair = write_instance_pair(tmp_path / "pair")
    scores = score_instances(pair.truth, pair.predictions, vocabulary=VOCABULARY)
    aps = {c.name: c.figures["mask_ap"] for c in scores.categories}
    # the cat's precision is 1/2 at every recall, since the false one scores higher
    assert aps == pytest.approx({"cat": 50.0, "dog": 0.0, "sky": None, "cow": 100.0}, abs=1e-9)
    assert scores.groups["seen"]["mask_recall100"] == 50.0
    assert scores.groups["harmonic"]["mask_ap"] == pytest.approx(2 * 25 * 100 / 125, abs=1e-9)


def test_without_vocabulary_the_truths_own_categories_count(tmp_path: Path) -> None:
    pair = write_instance_pair(tmp_path / "pair")
    scores = score_instances(pair.truth, pair.predictions)
    assert list(scores.groups) == ["all", "things", "stuff"]
    assert scores.groups["all"]["mask_ap"] == pytest.approx(50.0, abs=1e-9)


def test_novel_only_leaves_seen_instances_out(tmp_path: Path) -> None:
    pair = write_instance_pair(tmp_path / "pair")
    edit(pair.predictions, lambda results: [{**result, "category_id": 21} for result in results])
    scores = score_instances(pair.truth, pair.predictions, vocabulary=VOCABULARY, candidates="novel-only")
    assert list(scores.groups) == ["unseen"]
    assert [c.name for c in scores.categories] == ["cow"]
    assert scores.groups["unseen"]["mask_recall100"] == 100.0
    assert scores.groups["unseen"]["mask_ap"] == pytest.approx(100 / 3, abs=1e-9)  # behind two cows that are none


def test_no_results_score_0_and_boxes_alone_are_scored_as_boxes(tmp_path: Path) -> None:
    pair = write_instance_pair(tmp_path / "pair")
    edit(
        pair.predictions,
        lambda _: [{"image_id": 2, "category_id": 21, "score": 0.5, "bbox": [0, 0, 6, 2]}],
    )
    boxes = score_instances(pair.truth, pair.predictions, vocabulary=VOCABULARY)
    assert boxes.groups["unseen"]["mask_ap"] is None
    assert boxes.groups["unseen"]["box_ap"] == pytest.approx(100.0)
    edit(pair.predictions, lambda _: [])
    nothing = score_instances(pair.truth, pair.predictions, vocabulary=VOCABULARY)
    assert nothing.groups["all"]["mask_ap"] == nothing.groups["all"]["box_recall100"] == 0.0
