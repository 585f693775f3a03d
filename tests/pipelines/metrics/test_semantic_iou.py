"""Semantic scores against a slow reference, hand-computed values and real label maps."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from shared_data import shared_data

from pipelines.base.errors import ConcatError
from pipelines.data.formats.panoptic_png import read_panoptic_png
from pipelines.metrics.semantic_iou import (
    IGNORED,
    NOTHING,
    category_accuracies,
    category_ious,
    confusion,
    summarise_semantic,
)
from pipelines.vocabularies.vocabulary import Category, Vocabulary, load_vocabulary

N = 4
_ROWS = [("cat", True, False), ("sky", False, False), ("dog", True, True), ("sea", False, True)]
FOUR = Vocabulary(
    name="four",
    categories=tuple(
        Category(id=10 + i, name=name, isthing=thing, unseen=unseen) for i, (name, thing, unseen) in enumerate(_ROWS)
    ),
)

maps = arrays.arrays(np.int8, st.tuples(st.integers(0, 6), st.integers(1, 6)), elements=st.integers(-1, N - 1))


@st.composite
def pairs(draw):
    truth = draw(maps)
    predicted = draw(arrays.arrays(np.int64, truth.shape, elements=st.integers(-1, N - 1)))
    return truth, predicted


def slow_ious(truth: np.ndarray, predicted: np.ndarray) -> list[float | None]:
    """Pixel by pixel, as sets."""
    counted = [(t, p) for t, p in zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True) if t != IGNORED]
    ious: list[float | None] = []
    for category in range(N):
        both = sum(t == p == category for t, p in counted)
        either = sum(category in (t, p) for t, p in counted)
        ious.append(both / either if either else None)
    return ious


@given(pairs())
@settings(max_examples=200, deadline=None)
def test_equals_the_slow_reference(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = pair
    counts = confusion(truth, predicted, N)
    assert counts.dtype == np.int64
    assert counts.shape == (N, N + 1)
    for t in range(N):
        for p in range(N):
            assert counts[t, p] == ((truth == t) & (predicted == p)).sum()
        assert counts[t, N] == ((truth == t) & (predicted == NOTHING)).sum()
    assert category_ious(counts) == slow_ious(truth, predicted)
    present = [iou for iou in slow_ious(truth, predicted) if iou is not None]
    summary = summarise_semantic(counts, FOUR)
    assert summary["all"]["n"] == len(present)
    assert summary["all"]["miou"] == (pytest.approx(100 * np.mean(present)) if present else None)
    valid = truth != IGNORED
    right = (truth == predicted)[valid]
    assert summary["all"]["pacc"] == (pytest.approx(100 * right.mean()) if valid.any() else None)


def test_by_hand() -> None:
    truth = np.array([[0, 0, 0, 0], [1, 1, 2, -1], [2, 2, 2, -1]])
    predicted = np.array([[0, 0, 1, -1], [1, 1, 2, 3], [2, 2, 0, 0]])
    counts = confusion(truth, predicted, N)
    assert counts.tolist() == [[2, 1, 0, 0, 1], [0, 2, 0, 0, 0], [1, 0, 3, 0, 0], [0, 0, 0, 0, 0]]
    assert category_ious(counts) == [2 / 5, 2 / 3, 3 / 4, None]  # 3 is predicted on ignored pixels alone
    assert category_accuracies(counts) == [2 / 4, 2 / 2, 3 / 4, None]
    summary = summarise_semantic(counts, FOUR)
    seen, unseen = 50 * (2 / 5 + 2 / 3), 75.0
    assert summary == {
        "all": {"miou": pytest.approx(100 / 3 * (2 / 5 + 2 / 3 + 3 / 4)), "pacc": pytest.approx(70.0), "n": 3},
        "things": {"miou": pytest.approx(57.5), "pacc": pytest.approx(62.5), "n": 2},
        "stuff": {"miou": pytest.approx(200 / 3), "pacc": pytest.approx(100.0), "n": 1},
        "seen": {"miou": pytest.approx(seen), "pacc": pytest.approx(400 / 6), "n": 2},
        "unseen": {"miou": pytest.approx(unseen), "pacc": pytest.approx(75.0), "n": 1},
        "harmonic": {
            "miou": pytest.approx(2 * seen * unseen / (seen + unseen)),
            "pacc": pytest.approx(2 * 75 * (400 / 6) / (75 + 400 / 6)),
            "n": None,
        },
    }


def test_a_category_that_is_only_predicted_counts_as_zero() -> None:
    counts = confusion(np.array([[0, 0]]), np.array([[0, 1]]), N)
    assert category_ious(counts) == [0.5, 0.0, None, None]
    assert category_accuracies(counts) == [0.5, None, None, None]
    assert summarise_semantic(counts, FOUR)["stuff"] == {"miou": 0.0, "pacc": None, "n": 1}


def test_a_group_without_categories_is_empty_and_has_no_harmonic_mean() -> None:
    counts = confusion(np.array([[0, 1]]), np.array([[0, 0]]), 2)
    summary = summarise_semantic(counts, FOUR.seen)
    assert summary["unseen"] == {"miou": None, "pacc": None, "n": 0}
    assert "harmonic" not in summary


def test_unsigned_maps_are_counted_like_others() -> None:
    truth, predicted = np.array([[0, 3]], np.uint8), np.array([[3, 3]], np.uint64)
    assert confusion(truth, predicted, N)[[0, 3], 3].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("truth", "predicted", "error", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), ConcatError, "of image a.png differ in size: 3×2 and 2×3 px"),
        (np.full((1, 1), 4), np.zeros((1, 1), int), ValueError, "truth of image a.png holds 4"),
        (np.zeros((1, 1), int), np.full((1, 1), -2), ValueError, "prediction of image a.png holds -2"),
        (np.full((1, 1), 255, np.uint8), np.zeros((1, 1), int), ValueError, "truth .* holds 255"),
        (np.zeros((1, 1)), np.zeros((1, 1), int), ValueError, "truth .* float64"),
        (np.zeros((1, 1), int), np.zeros(1, int), ValueError, r"prediction .* \(1,\)"),
    ],
)
def test_maps_that_are_none(truth: np.ndarray, predicted: np.ndarray, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        confusion(truth, predicted, N, image="a.png")


def test_counts_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(ValueError, match="not those of 4 categories"):
        summarise_semantic(np.zeros((3, 4), np.int64), FOUR)


def test_real_panoptic_truth_equals_its_semantic_masks() -> None:
    data = shared_data("coco_panoptic_100train")
    content = json.loads((data / "annotations/panoptic_train2017.json").read_text())
    vocabulary = load_vocabulary("coco_panoptic")
    n, index_of = len(vocabulary), vocabulary.index_of()
    to_index = np.full(256, IGNORED)
    to_index[vocabulary.ids] = range(n)
    counts = np.zeros((n, n + 1), np.int64)
    for annotation in content["annotations"]:
        ids = read_panoptic_png(data / "annotations/panoptic_train2017" / annotation["file_name"])
        truth = np.full(ids.shape, IGNORED)
        for segment in annotation["segments_info"]:
            truth[ids == segment["id"]] = index_of[segment["category_id"]]
        derived = to_index[np.asarray(Image.open(data / "semantic_derived" / annotation["file_name"]))]
        assert np.array_equal(truth, derived), annotation["file_name"]
        counts += confusion(truth, derived, n, image=annotation["file_name"])
    assert len(content["annotations"]) == 100
    assert counts.sum() == np.trace(counts)
    summary = summarise_semantic(counts, vocabulary)
    assert [summary[group]["miou"] for group in summary] == [100.0] * 6
    assert [summary[group]["pacc"] for group in summary] == [100.0] * 6
    assert summary["all"]["n"] == 119
