"""Runs and what they count, against counting pixel by pixel."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.metrics.segment_runs import count_overlaps, runs_of

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 9))
FEW_IDS = st.sampled_from([0, 1, 2, 255, 2**24 - 1])


@st.composite
def two_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    size = draw(SIZES)
    kinds = st.sampled_from([np.int32, np.int64, np.uint32])
    return draw(arrays(draw(kinds), size, elements=FEW_IDS)), draw(arrays(draw(kinds), size, elements=FEW_IDS))


@given(two_maps())
@settings(max_examples=200, deadline=None)
def test_overlaps_equal_a_count_of_pixels(maps: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = maps
    slow = Counter(zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True))
    overlaps = count_overlaps(runs_of(truth), runs_of(predicted))
    assert overlaps == slow
    assert list(overlaps) == sorted(slow)


def test_noise_of_thousands_of_ids_is_counted_as_well() -> None:
    truth, predicted = np.random.default_rng(0).integers(0, 2**24, (2, 60, 60))
    slow = Counter(zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True))
    assert count_overlaps(runs_of(truth), runs_of(predicted)) == slow


@given(arrays(np.int32, SIZES, elements=FEW_IDS))
@settings(max_examples=50, deadline=None)
def test_runs_spell_out_the_map(ids: np.ndarray) -> None:
    runs = runs_of(ids)
    lengths = np.diff(runs.starts, append=ids.size)
    assert np.array_equal(np.repeat(runs.ids[runs.segments], lengths).reshape(runs.shape), ids)
    assert (runs.segments[1:] != runs.segments[:-1]).all()
    assert runs.ids.tolist() == sorted(set(ids.ravel().tolist()))


def test_a_run_goes_on_in_the_next_row() -> None:
    runs = runs_of(np.array([[5, 7, 7], [7, 0, 0]]))
    assert runs.starts.tolist() == [0, 1, 4]
    assert runs.ids[runs.segments].tolist() == [5, 7, 0]
    assert runs.shape == (2, 3)


@given(arrays(np.int32, SIZES, elements=FEW_IDS), st.sets(FEW_IDS), FEW_IDS)
@settings(max_examples=50, deadline=None)
def test_replaced_ids_count_as_one(ids: np.ndarray, old: set[int], new: int) -> None:
    replaced = np.where(np.isin(ids, list(old)), new, ids)
    assert count_overlaps(runs_of(ids).replaced(old, new), runs_of(ids)) == count_overlaps(
        runs_of(replaced), runs_of(ids)
    )


@pytest.mark.parametrize("layout", ["transposed", "every other column"])
def test_the_layout_in_memory_does_not_matter(layout: str) -> None:
    ids = np.random.default_rng(0).integers(0, 3, (8, 10))
    view = ids.T if layout == "transposed" else ids[:, ::2]
    assert runs_of(view).starts.tolist() == runs_of(view.copy()).starts.tolist()


def test_nothing_overlaps_in_an_image_without_pixels() -> None:
    empty = runs_of(np.zeros((0, 5), np.int32))
    assert count_overlaps(empty, empty) == {}
