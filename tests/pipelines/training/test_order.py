"""Orders: every pass complete, and each in an order of its own."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.base.errors import ConcatError
from pipelines.training.order import PermutationBatches


@given(length=st.integers(1, 40), batch_size=st.integers(1, 12), seed=st.integers(0, 2**63 - 1))
def test_a_pass_holds_every_index_once_but_for_an_incomplete_batch(length: int, batch_size: int, seed: int) -> None:
    indices_of = PermutationBatches(length, batch_size, seed)
    batches = max(1, length // batch_size)
    for epoch in range(3):
        steps = range(epoch * batches, (epoch + 1) * batches)
        drawn = [index for step in steps for index in indices_of(step).tolist()]
        assert len(drawn) == batches * batch_size
        assert len(set(drawn)) == min(length, len(drawn))
        assert set(drawn) <= set(range(length))


def test_a_batch_depends_on_its_step_alone() -> None:
    forwards, backwards = PermutationBatches(10, 3, 5), PermutationBatches(10, 3, 5)
    expected = [forwards(step).tolist() for step in range(9)]
    assert [backwards(step).tolist() for step in reversed(range(9))] == expected[::-1]


def test_another_process_draws_the_same() -> None:
    here = PermutationBatches(10, 3, 5)
    drawn = here(1).tolist()
    there = pickle.loads(pickle.dumps(here))
    assert there(1).tolist() == drawn
    assert there(7).tolist() == here(7).tolist()


def test_passes_and_seeds_have_orders_of_their_own() -> None:
    orders = [PermutationBatches(50, 50, seed)(epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_nothing_to_draw_from_is_an_error() -> None:
    with pytest.raises(ConcatError, match="no image"):
        PermutationBatches(0, 4, 0)
