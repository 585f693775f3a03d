import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipelines.data.checks.showcase import choose_images

SEEN = np.zeros(3, bool)


def test_few_images_show_all_categories() -> None:
    shares = np.array([[0.5, 0, 0], [0.5, 0.5, 0], [0, 0, 0.5], [0.5, 0, 0]])
    assert choose_images(shares, SEEN, least=0, most=4) == [1, 2]


def test_an_unseen_category_comes_before_many_seen_ones() -> None:
    shares = np.array([[0.4, 0.4, 0], [0, 0, 0.1]])
    assert choose_images(shares, SEEN, least=0, most=1) == [0]
    assert choose_images(shares, np.array([False, False, True]), least=0, most=1) == [1]


def test_of_two_images_the_one_that_shows_a_category_better_is_chosen() -> None:
    assert choose_images(np.array([[0.001], [0.015]]), SEEN[:1], least=0, most=1) == [1]


def test_another_round_begins_when_everything_is_shown() -> None:
    shares = np.array([[0.5, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0]])
    assert choose_images(shares, SEEN, least=2, most=5) == [0, 1]
    assert choose_images(shares, SEEN, least=4, most=5) == [0, 1, 2, 3]
    assert choose_images(shares, SEEN, least=5, most=5) == [0, 1, 2, 3, 4]  # one that shows nothing fills up


def test_no_image_is_chosen_from_none() -> None:
    assert choose_images(np.zeros((0, 3)), SEEN, least=2, most=5) == []


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.float32, (9, 4), elements=st.sampled_from([0, 0.001, 0.01, 0.3])),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.integers(0, 6),
    st.integers(6, 12),
)
def test_what_is_chosen_is_within_bounds_and_covers_what_can_be(
    shares: np.ndarray, unseen: list[bool], least: int, most: int
) -> None:
    chosen = choose_images(shares, np.array(unseen), least=least, most=most)
    assert chosen == sorted(set(chosen))
    assert least <= len(chosen) <= min(most, 9)
    # four categories need at most as many images to be shown as well as they can be
    assert np.array_equal(np.minimum(shares[chosen].max(axis=0, initial=0), 0.02), np.minimum(shares.max(axis=0), 0.02))
