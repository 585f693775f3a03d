import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipelines.losses.cat import BANDWIDTHS, kl_standard_normal, mmd, query_contrast

E1 = math.exp(-1)
E2 = math.exp(-2)


def slow_kernel(a: list[float], b: list[float]) -> float:
    squared = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    return sum(math.exp(-squared / (2 * width * width)) for width in BANDWIDTHS)


def slow_mean_kernel(a: Tensor, b: Tensor) -> float:
    return sum(slow_kernel(x, y) for x in a.tolist() for y in b.tolist()) / (len(a) * len(b))


def slow_contrast(
    generated: Tensor,
    real: Tensor,
    image: list[int],
    unmatched: Tensor | None,
    unmatched_image: list[int],
    tau: float,
    negatives: str,
) -> float:
    def similarity(a: Tensor, b: Tensor) -> float:
        return math.exp((a @ b / (a.norm() * b.norm())).item() / tau)

    total = 0.0
    for i, made in enumerate(generated):
        below = 0.0
        for j, key in enumerate(real):
            if negatives == "batch" or image[j] == image[i]:
                below += similarity(made, key)
        for j, key in enumerate([] if unmatched is None else unmatched):
            if negatives == "batch" or unmatched_image[j] == image[i]:
                below += similarity(made, key)
        total -= math.log(similarity(made, real[i]) / below)
    return total / len(generated)


def test_eq_10_by_hand() -> None:
    real, generated = torch.tensor([[0.0]]), torch.tensor([[2.0]])
    assert mmd(real, generated, (2.0,)).item() == pytest.approx(2 - 2 * math.exp(-0.5))
    assert mmd(real, generated).item() == pytest.approx(0.9938928, abs=1e-5)  # 12 − 2 Σ_λ exp(−4 / 2λ²)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.floats(0.1, 30), st.integers(0, 999))
def test_eq_10_equals_a_loop(reals: int, made: int, width: int, scale: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    real = torch.randn(reals, width, generator=generator) * scale
    generated = torch.randn(made, width, generator=generator) * scale
    expected = (
        slow_mean_kernel(real, real) + slow_mean_kernel(generated, generated) - 2 * slow_mean_kernel(real, generated)
    )
    assert mmd(real, generated).item() == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_mmd_vanishes_on_equal_sets_and_its_gradient_pulls_towards_the_real() -> None:
    real = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    assert mmd(real, real[torch.randperm(6)]).item() == pytest.approx(0, abs=1e-5)
    generated = (real + 3).requires_grad_()
    mmd(real, generated).backward()
    assert generated.grad is not None
    assert (generated.grad.sum(0) > 0).all()


@pytest.mark.parametrize(
    ("mu", "log_var", "expected"),
    [
        (0.0, 0.0, 0.0),
        (1.0, 0.0, 0.5),
        (0.0, math.log(2), 0.5 * (2 - 1 - math.log(2))),
        (0.0, 20.0, 0.5 * (math.exp(8) - 1 - 8)),
        (0.0, -20.0, 0.5 * (math.exp(-8) - 1 + 8)),
    ],
)
def test_kl_by_hand(mu: float, log_var: float, expected: float) -> None:
    assert kl_standard_normal(torch.tensor([[mu]]), torch.tensor([[log_var]])).item() == pytest.approx(expected)


def test_kl_is_torchs_and_a_mean_over_components_and_samples() -> None:
    mu, log_var = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal(mu, (log_var / 2).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(kl_standard_normal(mu, log_var), expected)


def test_eq_11_by_hand_without_and_with_unmatched_queries() -> None:
    real, image = torch.eye(2), torch.tensor([0, 0])
    unmatched, unmatched_image = torch.tensor([[-3.0, 0.0], [0.0, -1.0]]), torch.tensor([0, 1])
    without = query_contrast(2 * real, real, image, temperature=1.0)
    assert without.item() == pytest.approx(math.log(1 + E1))
    of_image = query_contrast(2 * real, real, image, unmatched, unmatched_image, temperature=1.0)
    assert of_image.item() == pytest.approx((math.log(1 + E1 + E2) + math.log(1 + 2 * E1)) / 2)
    of_batch = query_contrast(2 * real, real, image, unmatched, unmatched_image, temperature=1.0, negatives="batch")
    assert of_batch.item() == pytest.approx(math.log(1 + 2 * E1 + E2))


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=6),
    st.none() | st.lists(st.integers(0, 2), max_size=5),
    st.sampled_from(["image", "batch"]),
    st.integers(0, 999),
)
def test_eq_11_equals_a_loop(image: list[int], rest: list[int] | None, negatives: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    generated, real = torch.randn(2, len(image), 4, generator=generator)
    unmatched = None if rest is None else torch.randn(len(rest), 4, generator=generator)
    unmatched_image = None if rest is None else torch.tensor(rest, dtype=torch.int64)
    loss = query_contrast(
        generated, real, torch.tensor(image), unmatched, unmatched_image, temperature=0.4, negatives=negatives
    )
    expected = slow_contrast(generated, real, image, unmatched, rest or [], 0.4, negatives)
    assert loss.item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_all_stay_fp32_under_autocast_and_pass_gradients() -> None:
    generated, real = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    image = torch.tensor([0, 0, 1, 1])
    leaf = generated.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        losses = torch.stack([mmd(real, leaf), query_contrast(leaf, real, image, temperature=0.07)])
    plain = torch.stack([mmd(real, generated), query_contrast(generated, real, image, temperature=0.07)])
    assert torch.equal(losses, plain)
    losses.sum().backward()
    assert leaf.grad is not None
    assert (leaf.grad.norm(dim=1) > 0).all()
