import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipelines.losses.cia import instance_alignment

E1 = math.exp(-1)
E2 = math.exp(-2)


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def slow_instance(matched: Tensor, tokens: Tensor, image: list[int], tau: float, negatives: str) -> float:
    total = 0.0
    for i in range(len(image)):
        mine = [j for j in range(len(image)) if image[j] == image[i]]
        others = range(len(image)) if negatives == "batch" or len(mine) == 1 else mine
        terms = {j: math.exp(cosine(tokens[j].tolist(), matched[i].tolist()) / tau) for j in others}
        total -= math.log(terms[i] / sum(terms.values()))
    return total / len(image)


def test_eq_8_by_hand_with_an_image_of_one_segment() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    image = torch.tensor([0, 0, 1])
    loss = instance_alignment(2 * vectors, vectors, image, torch.arange(3), temperature=1.0)
    expected = (2 * math.log(1 + E1) + math.log(1 + E1 + E2)) / 3  # the lone segment takes the batch's
    assert loss.item() == pytest.approx(expected)
    assert expected == pytest.approx(0.344710, abs=1e-6)
    whole = instance_alignment(2 * vectors, vectors, image, torch.arange(3), temperature=1.0, negatives="batch")
    assert whole.item() == pytest.approx((2 * math.log(1 + E1 + E2) + math.log(1 + 2 * E1)) / 3)


@pytest.mark.parametrize("segments", [0, 1])
@pytest.mark.parametrize("negatives", ["image", "batch"])
def test_eq_8_without_anything_to_contrast_is_zero_with_a_graph(segments: int, negatives: str) -> None:
    matched = torch.randn(segments, 4, requires_grad=True)
    image = torch.zeros(segments, dtype=torch.int64)
    loss = instance_alignment(
        matched, torch.randn(segments, 4), image, torch.arange(segments), temperature=0.07, negatives=negatives
    )
    loss.backward()
    assert loss.item() == 0
    assert matched.grad is not None
    assert (matched.grad == 0).all()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=7), st.sampled_from(["image", "batch"]), st.integers(0, 999))
def test_eq_8_equals_a_loop(image: list[int], negatives: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matched, tokens = torch.randn(2, len(image), 5, generator=generator)
    loss = instance_alignment(
        matched, tokens, torch.tensor(image), torch.arange(len(image)), temperature=0.3, negatives=negatives
    )
    assert loss.item() == pytest.approx(slow_instance(matched, tokens, image, 0.3, negatives), rel=1e-3, abs=1e-5)


def test_a_segment_that_no_query_matched_is_a_negative() -> None:
    tokens, owner = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), torch.tensor([0, 0, 0])
    loss = instance_alignment(torch.tensor([[0.0, 2.0]]), tokens, owner, torch.tensor([1]), temperature=1.0)
    assert loss.item() == pytest.approx(math.log(1 + 2 * E1))


@pytest.mark.parametrize("negatives", ["image", "batch"])
def test_parts_sum_to_the_whole(negatives: str) -> None:
    generator = torch.Generator().manual_seed(0)
    matched, tokens = torch.randn(2, 6, 5, generator=generator)
    owner, segment, how = (
        torch.tensor([0, 0, 1, 2, 2, 2]),
        torch.arange(6),
        {"temperature": 0.3, "negatives": negatives},
    )
    whole = instance_alignment(matched, tokens, owner, segment, **how)
    parts = [
        instance_alignment(matched[own], tokens, owner, segment[own], normaliser=6, **how)
        for own in (slice(0, 2), slice(2, 3), slice(3, 6))
    ]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)
