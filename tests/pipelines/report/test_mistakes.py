import numpy as np
import pytest

from pipelines.draw.drawing import Drawing
from pipelines.report.gallery import errors
from pipelines.report.mistakes import Mistakes, best_median_worst, taken_for
from pipelines.report.predicted import category_map
from pipelines.vocabularies.vocabulary import Category, Vocabulary

WORLD = Vocabulary(
    name="world",
    categories=(
        Category(id=7, name="road"),
        Category(id=3, name="cow", unseen=True),
        Category(id=5, name="cat", unseen=True),
    ),
)


def mistakes(right: list[float], has_unseen: list[bool]) -> Mistakes:
    counts = np.array([[90, 10, 0, 0], [30, 60, 0, 10], [0, 0, 0, 0]])
    return Mistakes({"inductive": counts, "transductive": counts.copy()}, {"transductive": np.array(right)}, has_unseen)


def test_category_maps_take_ids_to_indices() -> None:
    drawing = Drawing(np.array([[1, 2], [0, 9]], np.int32), {1: 3, 2: 7})
    np.testing.assert_array_equal(category_map(drawing, WORLD.index_of()), [[1, 0], [-1, -1]])


def test_what_an_unseen_category_was_taken_for_by_hand() -> None:
    (cow,) = taken_for(mistakes([], []), WORLD)  # no pixel is a cat's
    assert (cow.name, cow.pixels) == ("cow", 100)
    assert [(name, shares["inductive"]) for name, shares in cow.rows] == [("cow", 60.0), ("road", 30.0), (None, 10.0)]
    (cow,) = taken_for(mistakes([], []), WORLD, count=1)
    assert [name for name, _ in cow.rows] == ["cow", "road"]


@pytest.mark.parametrize("images", range(1, 12))
def test_no_image_stands_twice_and_the_best_comes_before_the_worst(images: int) -> None:
    right = np.random.default_rng(images).permutation(images) / images
    found = best_median_worst(mistakes(list(right), [True] * images), "transductive", 2)
    chosen = [index for part in found.values() for index in part]
    assert len(chosen) == len(set(chosen))
    assert found["Best"][0] == right.argmax()
    if images > 1:
        assert found["Worst"][0] == right.argmin()


def test_images_with_unseen_categories_are_preferred_and_unlabelled_ones_left_out() -> None:
    found = best_median_worst(mistakes([0.9, 0.5, float("nan"), 0.1], [False, True, True, False]), "transductive", 2)
    assert found == {"Best": [1]}
    found = best_median_worst(mistakes([0.9, 0.5], [False, False]), "transductive", 2)
    assert found == {"Best": [0], "Worst": [1]}


def test_errors_are_coloured_by_kind() -> None:
    image = np.full((16, 16, 3), 100, np.uint8)
    truth = np.zeros((4, 4), np.int64)
    predicted = truth.copy()
    predicted[:2] = 1  # wrong above, right below
    predicted[:, 3], truth[:, 0] = -1, -1  # nothing on the right, no truth on the left
    drawn = errors(image, truth, predicted).astype(int)
    right, wrong, nothing, void = drawn[13, 6], drawn[3, 6], drawn[10:16, 13:16].reshape(-1, 3), drawn[8, 1]
    assert np.ptp(right) == 0
    assert wrong[0] > wrong[1] + 80
    assert (nothing[:, 2] > nothing[:, 1]).any()
    assert void.max() < right.min() / 2
