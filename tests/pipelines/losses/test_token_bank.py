from collections import deque

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipelines.losses.token_bank import TokenBank


@given(st.integers(0, 5), st.lists(st.integers(0, 7), max_size=5))
def test_the_bank_is_a_queue(size: int, batches: list[int]) -> None:
    bank, queue = TokenBank(size, 2), deque[float](maxlen=size)
    pushed = 0
    for batch in batches:
        values = torch.arange(pushed, pushed + batch, dtype=torch.float32)
        pushed += batch
        bank.push(values[:, None].expand(-1, 2))
        queue.extend(values.tolist())
        assert bank.tokens[:, 0].tolist() == list(queue)
        assert bank.tokens.shape == (len(queue), 2)


def test_the_bank_survives_a_checkpoint_and_keeps_no_graph() -> None:
    bank = TokenBank(3, 2)
    bank.push(torch.ones(2, 2, requires_grad=True) * 2)
    assert not bank.tokens.requires_grad
    resumed = TokenBank(3, 2)
    resumed.load_state_dict(bank.state_dict())
    for each in (bank, resumed):
        each.push(torch.zeros(2, 2))
    assert torch.equal(resumed.tokens, bank.tokens)
    assert resumed.tokens.tolist() == [[2, 2], [0, 0], [0, 0]]


def test_pushing_leaves_earlier_readings_alone() -> None:
    bank = TokenBank(2, 1)
    bank.push(torch.ones(2, 1))
    held = bank.tokens
    bank.push(torch.zeros(2, 1))
    assert held.tolist() == [[1], [1]]
