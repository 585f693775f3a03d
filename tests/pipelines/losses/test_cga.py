import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipelines.losses.cga import Enhancement, global_alignment, query_weights

E1 = math.exp(-1)
E2 = math.exp(-2)


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def slow_weights(
    semantic: list[list[float]], cls_token: list[float], matched: list[bool], gamma: float, enhancement: str
) -> list[float]:
    scores = []
    for query, is_matched in zip(semantic, matched, strict=True):
        score = cosine(query, cls_token)
        if is_matched:
            score = {"multiply": score * (gamma + 1), "plus": score + gamma, "minus": score - gamma}[enhancement]
        scores.append(math.exp(score))
    return [score / sum(scores) for score in scores]


def slow_global(
    semantic: Tensor, cls_tokens: Tensor, matched: Tensor, bank: Tensor | None, gamma: float, enh: str, tau: float
) -> float:
    total = 0.0
    for i, queries in enumerate(semantic.tolist()):
        weights = slow_weights(queries, cls_tokens[i].tolist(), matched[i].tolist(), gamma, enh)
        predicted = [sum(w * q[c] for w, q in zip(weights, queries, strict=True)) for c in range(len(queries[0]))]
        keys = cls_tokens.tolist() + ([] if bank is None else bank.tolist())
        terms = [math.exp(cosine(key, predicted) / tau) for key in keys]
        total -= math.log(terms[i] / sum(terms))
    return total / len(semantic)


@pytest.mark.parametrize(
    ("enhancement", "gamma", "expected"),
    [
        ("multiply", 2.0, [0.950330, 0.047314, 0.002356]),  # softmax(3, 0, −3)
        ("plus", 2.0, [0.843795, 0.042010, 0.114195]),  # softmax(3, 0, 1)
        ("minus", 2.0, [0.259497, 0.705385, 0.035119]),  # softmax(−1, 0, −3)
        ("multiply", 0.0, [0.665241, 0.244728, 0.090031]),  # softmax(1, 0, −1)
        ("plus", 0.0, [0.665241, 0.244728, 0.090031]),
    ],
)
def test_eq_4_by_hand(enhancement: Enhancement, gamma: float, expected: list[float]) -> None:
    semantic = torch.tensor([[[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]]])  # cosines 1, 0, −1
    matched = torch.tensor([[True, False, True]])
    weights = query_weights(semantic, torch.tensor([[1.0, 0.0]]), matched, gamma=gamma, enhancement=enhancement)
    assert weights[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_eq_6_by_hand_without_and_with_bank() -> None:
    semantic = torch.tensor([[[2.0, 0.0]], [[0.0, 3.0]]])
    cls_tokens, matched = torch.eye(2), torch.ones(2, 1, dtype=torch.bool)
    settings = {"gamma": 2.0, "temperature": 1.0}
    assert global_alignment(semantic, cls_tokens, matched, **settings).item() == pytest.approx(math.log(1 + E1))
    bank = torch.tensor([[-1.0, 0.0]])
    expected = (math.log(1 + E1 + E2) + math.log(1 + 2 * E1)) / 2
    assert global_alignment(semantic, cls_tokens, matched, bank, **settings).item() == pytest.approx(expected)
    assert expected == pytest.approx(0.479525, abs=1e-6)


def test_an_empty_bank_is_no_bank_and_a_lone_image_has_nothing_to_learn() -> None:
    semantic, cls_tokens = torch.randn(2, 3, 4), torch.randn(2, 4)
    matched = torch.tensor([[True, False, True], [False, False, False]])
    settings = {"gamma": 2.0, "temperature": 0.07}
    without = global_alignment(semantic, cls_tokens, matched, None, **settings)
    assert torch.equal(without, global_alignment(semantic, cls_tokens, matched, torch.zeros(0, 4), **settings))
    assert global_alignment(semantic[:1], cls_tokens[:1], matched[:1], None, **settings).item() == 0


@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 3),
    st.sampled_from(["multiply", "plus", "minus"]),
    st.floats(0, 3),
    st.integers(0, 999),
)
def test_eqs_4_to_6_equal_a_loop(
    images: int, queries: int, width: int, held: int, enhancement: Enhancement, gamma: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    semantic = torch.randn(images, queries, width, generator=generator)
    cls_tokens = torch.randn(images, width, generator=generator)
    bank = torch.randn(held, width, generator=generator) if held else None
    matched = torch.rand(images, queries, generator=generator) > 0.5
    weights = query_weights(semantic, cls_tokens, matched, gamma=gamma, enhancement=enhancement)
    for i in range(images):
        expected = slow_weights(semantic[i].tolist(), cls_tokens[i].tolist(), matched[i].tolist(), gamma, enhancement)
        assert weights[i].tolist() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    loss = global_alignment(semantic, cls_tokens, matched, bank, gamma=gamma, enhancement=enhancement, temperature=0.5)
    expected_loss = slow_global(semantic, cls_tokens, matched, bank, gamma, enhancement, 0.5)
    assert loss.item() == pytest.approx(expected_loss, rel=1e-3, abs=1e-5)


def test_the_global_gradient_reaches_every_query_also_in_half_precision() -> None:
    semantic = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    matched = torch.tensor([[True, False, True], [False, True, False]])
    loss = global_alignment(semantic, torch.eye(2, 4), matched, torch.eye(4), gamma=2.0, temperature=0.07)
    assert loss.dtype == torch.float32
    loss.backward()
    assert semantic.grad is not None
    assert (semantic.grad.norm(dim=-1) > 0).all()


def test_parts_sum_to_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    semantic, tokens = torch.randn(4, 3, 5, generator=generator), torch.randn(4, 5, generator=generator)
    matched, bank = torch.rand(4, 3, generator=generator) > 0.5, torch.randn(2, 5, generator=generator)
    how = {"gamma": 2.0, "temperature": 0.5}
    whole = global_alignment(semantic, tokens, matched, bank, **how)
    parts = [
        global_alignment(semantic[own], tokens, matched[own], bank, first_image=own.start, **how)
        for own in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)
