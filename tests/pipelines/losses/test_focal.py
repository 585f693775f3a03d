import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import sigmoid_focal_loss

from pipelines.losses.focal import classification_focal, focal_cost, sigmoid_focal

LN2 = math.log(2)


def slow_focal(logit: float, target: int, alpha: float, gamma: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    p_t = p if target else 1 - p
    weight = 1.0 if alpha < 0 else (alpha if target else 1 - alpha)
    return -weight * (1 - p_t) ** gamma * math.log(p_t)


@pytest.mark.parametrize(
    ("target", "alpha", "gamma", "expected"),
    [
        (1, 0.25, 2.0, 0.25 * 0.25 * LN2),
        (0, 0.25, 2.0, 0.75 * 0.25 * LN2),
        (1, -1.0, 2.0, 0.25 * LN2),
        (1, 0.25, 0.0, 0.25 * LN2),
    ],
)
def test_focal_of_a_zero_logit(target: int, alpha: float, gamma: float, expected: float) -> None:
    loss = sigmoid_focal(torch.zeros(1), torch.tensor([target]), alpha=alpha, gamma=gamma)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@given(st.floats(-8, 8), st.sampled_from([0, 1]), st.sampled_from([-1.0, 0.0, 0.25, 1.0]), st.floats(0, 4))
def test_focal_equals_its_definition(logit: float, target: int, alpha: float, gamma: float) -> None:
    loss = sigmoid_focal(torch.tensor(logit), torch.tensor(target), alpha=alpha, gamma=gamma)
    assert loss.item() == pytest.approx(slow_focal(logit, target, alpha, gamma), rel=1e-3, abs=1e-7)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (-1.0, 2.0), (0.6, 0.0), (0.25, 1.0)])
def test_focal_and_its_gradient_equal_torchvisions(alpha: float, gamma: float) -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * 3
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    targets = (torch.rand(5, 7, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    loss = sigmoid_focal(ours, targets, alpha=alpha, gamma=gamma)
    expected = sigmoid_focal_loss(theirs, targets, alpha=alpha, gamma=gamma)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_saturated_logits_keep_finite_gradients(gamma: float) -> None:
    logits = torch.tensor([-200.0, -200.0, 200.0, 200.0], requires_grad=True)
    loss = sigmoid_focal(logits, torch.tensor([0, 1, 0, 1]), alpha=0.25, gamma=gamma)
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([0, 50, 150, 0])
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_cost_is_positive_minus_negative() -> None:
    cost = focal_cost(torch.tensor([[0.0, 2.0], [-1.0, 0.5]]), alpha=0.25, gamma=2.0)
    for row, logits in zip(cost, [[0.0, 2.0], [-1.0, 0.5]], strict=True):
        for value, logit in zip(row, logits, strict=True):
            expected = slow_focal(logit, 1, 0.25, 2.0) - slow_focal(logit, 0, 0.25, 2.0)
            assert value.item() == pytest.approx(expected, rel=1e-5)
    assert cost[0, 0].item() == pytest.approx(-0.5 * 0.25 * LN2)


def test_rows_of_no_object_are_negatives_of_every_name() -> None:
    focal = {"alpha": 0.25, "gamma": 2.0}
    zeros = torch.zeros(1, 2)
    assert classification_focal(zeros, torch.tensor([-1]), normaliser=1, **focal).item() == pytest.approx(
        2 * 0.75 * 0.25 * LN2
    )
    assert classification_focal(zeros, torch.tensor([1]), normaliser=1, **focal).item() == pytest.approx(0.25 * LN2)


@given(st.integers(0, 6), st.integers(1, 5), st.integers(0, 3), st.integers(0, 999))
def test_classification_focal_equals_a_loop(rows: int, names: int, normaliser: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, names, generator=generator)
    labels = torch.randint(-1, names, (rows,), generator=generator)
    expected = sum(
        slow_focal(logits[m, n].item(), int(labels[m] == n), 0.25, 2.0) for m in range(rows) for n in range(names)
    )
    loss = classification_focal(logits, labels, alpha=0.25, gamma=2.0, normaliser=normaliser)
    assert loss.item() == pytest.approx(expected / max(normaliser, 1), rel=1e-4, abs=1e-6)
