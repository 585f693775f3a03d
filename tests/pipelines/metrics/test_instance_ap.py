"""Instance scores against pycocotools run directly, on real and made-up instances, and malformed input."""

import copy
import io
import json
import math
from collections.abc import Iterable
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from shared_data import shared_data

from pipelines.base.errors import ConcatError
from pipelines.metrics.instance_ap import InstanceFigures, evaluate_instances, summarise_instances
from pipelines.metrics.instance_input import without_empty
from pipelines.vocabularies.vocabulary import Category, Vocabulary

KINDS = ("segm", "bbox")


def pycocotools(truth: dict[str, Any], results: list[dict[str, Any]], categories: Iterable[int], kind: str) -> COCOeval:
    """What its own scripts do, with its own settings."""
    with redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(results)), kind)
        evaluation.params.catIds = sorted(categories)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def equal_to_pycocotools(truth: dict[str, Any], results: list[dict[str, Any]], categories: list[int]) -> int:
    """Compares every figure; returns how many categories have some."""
    for kind in KINDS:
        given = copy.deepcopy((truth, results))
        found = evaluate_instances(truth, results, categories, kind)
        assert (truth, results) == given
        theirs = pycocotools(truth, results, categories, kind)
        precision, recall = theirs.eval["precision"][..., 0, 2], theirs.eval["recall"][..., 0, 2]
        for k, category in enumerate(sorted(categories)):
            values = precision[:, :, k][precision[:, :, k] > -1]
            if values.size == 0:
                assert category not in found
                continue
            expected = InstanceFigures(values.mean(), precision[0, :, k].mean(), recall[0, k])
            assert found[category] == expected, (kind, category)
        if found:
            assert np.mean([figures.ap for figures in found.values()]) == pytest.approx(theirs.stats[0], abs=1e-12)
            assert np.mean([figures.ap50 for figures in found.values()]) == pytest.approx(theirs.stats[1], abs=1e-12)
    return len(found)


def perturbed(truth: dict[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
    """The truth as results: moved, dropped, doubled, of another category, with scores that often tie."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    categories = [category["id"] for category in truth["categories"]]
    coco = COCO()
    coco.imgs = {image["id"]: image for image in truth["images"]}
    results = []
    for annotation in truth["annotations"]:
        mask = coco_mask.decode(coco.annToRLE(annotation))
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            moved = np.roll(mask, rng.integers(-4, 5, 2) * (rng.random() < 0.7), (0, 1))
            rle = coco_mask.encode(np.asfortranarray(moved))
            other = rng.random() < 0.15
            results.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": int(rng.choice(categories)) if other else annotation["category_id"],
                    "segmentation": {"size": list(sizes[annotation["image_id"]]), "counts": rle["counts"].decode()},
                    "score": float(np.round(rng.random(), 1)),
                }
            )
    return results


@pytest.mark.parametrize("part", ["train2017", "val2017"])
def test_real_instances_score_as_in_pycocotools(part: str) -> None:
    truth = json.loads((shared_data("coco_instances_tiny38") / f"annotations/instances_{part}.json").read_text())
    results = perturbed(truth, np.random.default_rng(0))
    categories = [category["id"] for category in truth["categories"]]
    assert equal_to_pycocotools(truth, results, categories) > 10
    assert equal_to_pycocotools(truth, results, categories[::3]) > 3
    figures = evaluate_instances(truth, results, categories, "segm").values()
    assert 0.2 < np.mean([category.ap50 for category in figures]) < 0.95


def test_real_truth_as_result_is_perfect() -> None:
    truth = json.loads((shared_data("coco_instances_tiny38") / "annotations/instances_train2017.json").read_text())
    coco = COCO()
    coco.imgs = {image["id"]: image for image in truth["images"]}
    assert any(annotation["iscrowd"] for annotation in truth["annotations"])
    results = [{**a, "segmentation": coco.annToRLE(a), "score": 1.0} for a in truth["annotations"] if not a["iscrowd"]]
    categories = [category["id"] for category in truth["categories"]]
    for kind in KINDS:
        found = evaluate_instances(truth, results, categories, kind)
        assert found
        assert all(figures == pytest.approx((1, 1, 1)) for figures in found.values())


def random_truth(rng: np.random.Generator) -> dict[str, Any]:
    """Rectangles as polygons, runs or crowds on a few small images."""
    images = [{"id": int(i), "height": 20, "width": 30} for i in rng.choice(1000, 3, replace=False)]
    annotations = []
    for number in range(rng.integers(0, 12)):
        x, y, w, h = (int(v) for v in (*rng.integers(0, 15, 2), *rng.integers(1, 12, 2)))
        mask = np.zeros((20, 30), np.uint8, order="F")
        mask[y : y + h, x : x + w] = 1
        rle = coco_mask.encode(mask)
        runs = np.diff(np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=2, append=2)))
        forms = [
            [[x, y, x + w, y, x + w, y + h, x, y + h]],
            {"size": [20, 30], "counts": rle["counts"].decode()},
            {"size": [20, 30], "counts": ([0] if mask[0, 0] else []) + runs.tolist()},
        ]
        annotations.append(
            {
                "id": number + 1,
                "image_id": images[rng.integers(3)]["id"],
                "category_id": int(rng.integers(1, 5)),
                "segmentation": forms[rng.integers(3)],
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": int(rng.random() < 0.2),
            }
        )
    return {"images": images, "annotations": annotations, "categories": [{"id": i} for i in range(1, 5)]}


def test_made_up_instances_score_as_in_pycocotools() -> None:
    scored = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = random_truth(rng)
        results = perturbed(truth, rng)
        if results:  # pycocotools cannot load none
            scored += equal_to_pycocotools(truth, results, [1, 2, 3, 4])
    assert scored > 60


def square(**changes: Any) -> dict[str, Any]:
    """A result on, or an instance of, the image `7`: a square of 10 px."""
    mask = np.zeros((20, 30), np.uint8, order="F")
    mask[5:15, 5:15] = 1
    counts = coco_mask.encode(mask)["counts"]
    entry = {"image_id": 7, "category_id": 3, "score": 0.5, "segmentation": {"size": [20, 30], "counts": counts}}
    entry |= changes
    return {key: value for key, value in entry.items() if value is not None}


def one_square(**changes: Any) -> dict[str, Any]:
    image = {"id": 7, "height": 20, "width": 30}
    return {"images": [image], "annotations": [square(id=1, **changes)], "categories": [{"id": 3}, {"id": 4}]}


def test_by_hand() -> None:
    truth = one_square()
    truth["annotations"].append(square(id=2, category_id=4))
    shifted = square(bbox=[6, 5, 10, 10], segmentation=None)  # IoU 90/110 = 0.82: found at 0.5, 0.55, …, 0.8
    assert evaluate_instances(truth, [shifted], [3, 4], "bbox") == {
        3: pytest.approx(InstanceFigures(0.7, 1.0, 1.0)),
        4: InstanceFigures(0.0, 0.0, 0.0),
    }


def test_without_results_nothing_is_found() -> None:
    for kind in KINDS:
        assert evaluate_instances(one_square(), [], [3, 4], kind) == {3: InstanceFigures(0.0, 0.0, 0.0)}
        assert evaluate_instances(one_square(), [], [], kind) == {}
        assert evaluate_instances(one_square(iscrowd=1), [square()], [3], kind) == {}


def test_a_hundred_detections_count() -> None:
    wrong = [square(category_id=3, bbox=[0, 0, 2, 2], score=0.9) for _ in range(100)]
    right = square(bbox=[5, 5, 10, 10])
    assert evaluate_instances(one_square(), [*wrong[1:], right], [3], "bbox")[3].recall100 == 1.0
    assert evaluate_instances(one_square(), [*wrong, right], [3], "bbox")[3].recall100 == 0.0


def test_the_id_zero_is_an_id_like_others() -> None:
    truth = one_square()
    truth["annotations"][0]["id"] = 0
    assert evaluate_instances(truth, [square()], [3], "segm")[3] == pytest.approx((1, 1, 1))


def test_results_of_categories_that_are_not_scored_change_nothing() -> None:
    truth = one_square()
    truth["annotations"].append(square(id=2, category_id=4))
    alone = evaluate_instances(truth, [square()], [3], "segm")
    assert evaluate_instances(truth, [square(), square(category_id=4)], [3], "segm") == alone
    assert list(alone) == [3]


def test_it_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate_instances(one_square(), [square()], [3], "segm")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 8}, "Result 0 .* image 8, has an unknown image_id: 8"),
        ({"image_id": [7]}, "unknown image_id"),
        ({"image_id": True}, "unknown image_id"),
        ({"category_id": 99}, "image 7, has an unknown category_id: 99"),
        ({"category_id": None}, "unknown category_id: None"),
        ({"score": None}, "no finite score but None"),
        ({"score": math.nan}, "no finite score but nan"),
        ({"score": math.inf}, "no finite score but inf"),
        ({"score": 10**400}, "no finite score"),
        ({"score": "0.5"}, "no finite score but '0.5'"),
        ({"segmentation": None}, "has no segmentation"),
        ({"segmentation": [[0, 0, 5, 0, 5, 5]]}, "damaged mask: it is .* polygon"),
        ({"segmentation": {"size": [30, 20], "counts": "0h00"}}, "damaged mask: it states the size"),
        ({"segmentation": {"size": [20, 30], "counts": "0h00"}}, "damaged mask: it has runs"),
    ],
)
def test_a_damaged_result_is_named(changes: dict[str, Any], message: str) -> None:
    if "segmentation" not in changes or changes["segmentation"]:
        changes = {"segmentation": square()["segmentation"], **changes}
    with pytest.raises(ConcatError, match=message):
        evaluate_instances(one_square(), [square(**changes)], [3], "segm")


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([0, 0, -1, 5], "no box x, y, width, height but"),
        ([0, 0, math.nan, 5], "no box"),
        ([0, 0, 5], "no box"),
        ("0 0 5 5", "no box"),
        ([0, 0, 1e200, 1e200], "far outside its image"),
    ],
)
def test_a_damaged_box_is_named(box: Any, message: str) -> None:
    with pytest.raises(ConcatError, match=f"Result 1 .* image 7, .*{message}"):
        evaluate_instances(one_square(), [square(), square(bbox=box)], [3], "bbox")
    with pytest.raises(ConcatError, match=f"Instance 1 of the ground truth, image 7, .*{message}"):
        evaluate_instances(one_square(bbox=box), [square()], [3], "bbox")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("images"), "no 'images'"),
        (lambda t: t.update(annotations={}), "'annotations' .* no list"),
        (lambda t: t["images"].append(t["images"][0]), "lists image 7 twice"),
        (lambda t: t["images"].append({"id": 8}), "Image 8 .* lacks"),
        (lambda t: t["images"].append({"id": 8, "height": 10**6, "width": 1}), "Image 8 .* lacks"),
        (lambda t: t["annotations"].append(t["annotations"][0]), "Instance 1 .* has the id of another"),
        (lambda t: t["annotations"][0].update(id="a"), "Instance a .* no integer as id"),
        (lambda t: t["annotations"][0].update(image_id=9), "unknown image_id: 9"),
        (lambda t: t["annotations"][0].update(category_id=9), "unknown category_id: 9"),
        (lambda t: t["annotations"][0].update(segmentation=[[0, 0, 9]]), "damaged mask: it is no list of polygons"),
        (lambda t: t["annotations"][0].update(segmentation=[[0, 0, 1e9, 0, 5, 5]]), "no list of polygons"),
        (
            lambda t: t["annotations"][0].update(segmentation={"size": [20, 30], "counts": [1, 2]}),
            "do not add up",
        ),
    ],
)
def test_a_damaged_truth_is_named(change: Any, message: str) -> None:
    truth = one_square()
    change(truth)
    with pytest.raises(ConcatError, match=message):
        evaluate_instances(truth, [square()], [3], "segm")


@pytest.mark.parametrize("segmentation", [[], [[0, 0, 9, 9]], {"size": [20, 30], "counts": [600]}])
def test_what_has_no_pixel_is_no_object(segmentation: Any) -> None:
    truth = one_square()
    truth["annotations"].append({**truth["annotations"][0], "id": 2, "segmentation": segmentation})
    kept, empty = without_empty(truth, [3])
    assert [a["id"] for a in kept["annotations"]] == [1]
    assert [a["id"] for a in empty] == [2]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=6,
)
BOXES = st.lists(st.floats() | st.integers(-5, 40), min_size=3, max_size=5)
COUNTS = st.text(alphabet="".join(map(chr, range(46, 114))), max_size=12)
SEGMENTATIONS = st.fixed_dictionaries(
    {
        "size": st.just([20, 30]) | JSON,
        "counts": st.text(alphabet="".join(map(chr, range(46, 114))), max_size=12) | JSON,
    }
)
FIELDS = {
    "image_id": st.just(7) | JSON,
    "category_id": st.sampled_from([3, 4]) | JSON,
    "score": st.floats() | JSON,
    "segmentation": SEGMENTATIONS | st.just(square()["segmentation"]) | JSON,
    "bbox": BOXES | JSON,
}


def scored_or_refused(results: Any, kind: Any) -> dict[int, InstanceFigures] | str:
    """The figures, or the message of the refusal."""
    try:
        return evaluate_instances(one_square(), results, [3, 4], kind)
    except ConcatError as error:
        return error.message


def what_counts(result: dict[str, Any], kind: str) -> dict[str, Any]:
    """A result with what its kind reads alone; `loadRes` takes the first result's form for all."""
    read = {key: result[key] for key in ("image_id", "category_id", "score")}
    if kind == "segm":
        return {**read, "segmentation": result["segmentation"]}
    return {**read, "bbox": result.get("bbox") or coco_mask.toBbox(result["segmentation"]).tolist()}


@given(
    result=st.fixed_dictionaries({}, optional=FIELDS) | JSON,
    field=st.sampled_from(sorted(FIELDS)),
    data=st.data(),
    kind=st.sampled_from(KINDS),
)
@settings(max_examples=400, deadline=None)
def test_malformed_results_are_refused_or_scored_rightly(
    result: Any, field: str, data: st.DataObject, kind: str
) -> None:
    nearly = square(bbox=[5.0, 5.0, 10.0, 10.0]) | {field: data.draw(FIELDS[field])}
    for results in ([result], [nearly], [square(score=0.7), nearly], result):
        found = scored_or_refused(results, kind)
        if isinstance(found, str):
            assert "esult" in found
            continue
        if not results:
            assert found == {3: (0, 0, 0)}
            continue
        truth, read = one_square(bbox=[5, 5, 10, 10], area=100, iscrowd=0), [what_counts(r, kind) for r in results]
        theirs = pycocotools(truth, read, [3, 4], kind).eval
        assert found == {
            3: InstanceFigures(
                theirs["precision"][:, :, 0, 0, 2].mean(),
                theirs["precision"][0, :, 0, 0, 2].mean(),
                theirs["recall"][0, 0, 0, 2],
            )
        }


def test_summary_means_over_categories_with_figures() -> None:
    rows = [(5, True, False), (3, True, False), (9, True, True), (1, False, True)]
    vocabulary = Vocabulary(
        name="tiny", categories=tuple(Category(id=i, name=f"c{i}", isthing=t, unseen=u) for i, t, u in rows)
    )
    mask = {5: InstanceFigures(0.2, 0.4, 0.8), 3: InstanceFigures(0.4, 0.6, 0.6), 9: InstanceFigures(0.1, 0.3, 0.2)}
    summary = summarise_instances(mask, {}, vocabulary)
    boxes = {"box_ap50": None, "box_ap": None, "box_recall100": None}
    masks = {"mask_ap50": 50, "mask_ap": 30, "mask_recall100": 70}
    assert summary["seen"] == pytest.approx({**masks, **boxes, "n": 2})
    assert summary["all"]["mask_ap50"] == pytest.approx(130 / 3)
    assert summary["unseen"]["n"] == 1
    assert summary["stuff"] == dict.fromkeys(summary["seen"]) | {"n": 0}
    assert summary["harmonic"]["mask_ap50"] == pytest.approx(2 * 50 * 30 / 80)
    assert summary["harmonic"]["box_ap"] is None
    assert summary["harmonic"]["n"] is None
    assert summarise_instances(mask, mask, vocabulary)["seen"]["box_recall100"] == pytest.approx(70)
    assert "harmonic" not in summarise_instances(mask, {}, vocabulary.seen)
