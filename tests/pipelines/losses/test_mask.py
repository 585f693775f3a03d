import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.mask2former import modeling_mask2former as peer

from pipelines.losses.mask import dice_cost, mask_bce, mask_bce_cost, mask_dice

LN2 = math.log(2)


def slow_bce(logits: Tensor, target: Tensor, weight: Tensor) -> float:
    total = 0.0
    for m, t, w in zip(logits.tolist(), target.tolist(), weight.tolist(), strict=True):
        p = 1 / (1 + math.exp(-m))
        total -= w * (t * math.log(p) + (1 - t) * math.log(1 - p))
    return total / max(sum(weight.tolist()), 1)


def slow_dice(logits: Tensor, target: Tensor, weight: Tensor) -> float:
    overlap = area = 0.0
    for m, t, w in zip(logits.tolist(), target.tolist(), weight.tolist(), strict=True):
        p = 1 / (1 + math.exp(-m))
        overlap += w * p * t
        area += w * (p + t)
    return 1 - (2 * overlap + 1) / (area + 1)


def random_masks(queries: int, segments: int, points: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(queries, points, generator=generator) * 2
    targets = torch.rand(segments, points, generator=generator)
    return logits, targets, (torch.rand(points, generator=generator) > 0.4).float()


def test_hand_computed_values() -> None:
    logits, target = torch.zeros(1, 4), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    everywhere, partly = torch.ones(1, 4), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    assert mask_bce(logits, target, everywhere, normaliser=1).item() == pytest.approx(LN2)
    assert mask_dice(logits, target, everywhere, normaliser=1).item() == pytest.approx(0.4)  # 1 − (2 + 1) / (4 + 1)
    assert mask_dice(logits, target, partly, normaliser=1).item() == pytest.approx(1 / 3)  # 1 − (2 + 1) / (3.5 + 1)
    assert mask_bce_cost(logits, target, everywhere[0]).item() == pytest.approx(LN2)
    assert dice_cost(logits, target, partly[0]).item() == pytest.approx(1 / 3)


@settings(max_examples=30)
@given(st.integers(0, 4), st.integers(0, 3), st.integers(1, 9), st.integers(0, 999))
def test_costs_equal_a_loop_over_pairs(queries: int, segments: int, points: int, seed: int) -> None:
    logits, targets, weight = random_masks(queries, segments, points, seed)
    bce, dice = mask_bce_cost(logits, targets, weight), dice_cost(logits, targets, weight)
    assert bce.shape == dice.shape == (queries, segments)
    for k in range(queries):
        for o in range(segments):
            assert bce[k, o].item() == pytest.approx(slow_bce(logits[k], targets[o], weight), rel=1e-4, abs=1e-5)
            assert dice[k, o].item() == pytest.approx(slow_dice(logits[k], targets[o], weight), rel=1e-4, abs=1e-5)


@settings(max_examples=30)
@given(st.integers(0, 4), st.integers(1, 9), st.integers(0, 3), st.integers(0, 999))
def test_losses_equal_a_loop_over_pairs(pairs: int, points: int, normaliser: int, seed: int) -> None:
    logits, targets, weight = random_masks(pairs, pairs, points, seed)
    weights = weight.expand(pairs, -1)
    bce = sum(slow_bce(m, t, weight) for m, t in zip(logits, targets, strict=True)) / max(normaliser, 1)
    dice = sum(slow_dice(m, t, weight) for m, t in zip(logits, targets, strict=True)) / max(normaliser, 1)
    loss = mask_bce(logits, targets, weights, normaliser=normaliser)
    assert loss.item() == pytest.approx(bce, rel=1e-4, abs=1e-5)
    loss = mask_dice(logits, targets, weights, normaliser=normaliser)
    assert loss.item() == pytest.approx(dice, rel=1e-4, abs=1e-5)


def test_costs_of_a_batch_are_those_of_its_images() -> None:
    images = [random_masks(3, 2, 11, seed) for seed in range(4)]
    logits, targets, weight = (torch.stack(tensors) for tensors in zip(*images, strict=True))
    for cost in (mask_bce_cost, dice_cost):
        alone = torch.stack([cost(*image) for image in images])
        torch.testing.assert_close(cost(logits, targets, weight), alone)


def test_without_ignored_points_all_equal_transformers_mask2former() -> None:
    logits, targets, _ = random_masks(5, 5, 40, 0)
    targets, everywhere = targets.round(), torch.ones(40)
    torch.testing.assert_close(
        mask_bce_cost(logits, targets, everywhere), peer.pair_wise_sigmoid_cross_entropy_loss(logits, targets)
    )
    torch.testing.assert_close(dice_cost(logits, targets, everywhere), peer.pair_wise_dice_loss(logits, targets))
    weights = everywhere.expand(5, -1)
    torch.testing.assert_close(
        mask_bce(logits, targets, weights, normaliser=3), peer.sigmoid_cross_entropy_loss(logits, targets, 3)
    )
    torch.testing.assert_close(mask_dice(logits, targets, weights, normaliser=3), peer.dice_loss(logits, targets, 3))


def test_points_without_weight_change_nothing_and_get_no_gradient() -> None:
    logits, targets, weight = random_masks(3, 3, 12, 3)
    ignored = weight == 0
    other_logits, other_targets = logits.clone(), targets.clone()
    other_logits[:, ignored], other_targets[:, ignored] = 50.0, 1.0
    for cost in (mask_bce_cost, dice_cost):
        torch.testing.assert_close(cost(logits, targets, weight), cost(other_logits, other_targets, weight))
    for loss in (mask_bce, mask_dice):
        leaf = logits.clone().requires_grad_()
        value = loss(leaf, targets, weight.expand(3, -1), normaliser=3)
        assert value.item() == pytest.approx(
            loss(other_logits, other_targets, weight.expand(3, -1), normaliser=3).item()
        )
        value.backward()
        assert leaf.grad is not None
        assert (leaf.grad[:, ignored] == 0).all()
        assert (leaf.grad[:, ~ignored] != 0).all()


def test_a_wholly_ignored_mask_costs_nothing() -> None:
    logits, targets, _ = random_masks(2, 2, 6, 0)
    nowhere = torch.zeros(6)
    for cost in (mask_bce_cost, dice_cost):
        assert (cost(logits, targets, nowhere) == 0).all()
    for loss in (mask_bce, mask_dice):
        assert loss(logits, targets, nowhere.expand(2, -1), normaliser=2).item() == 0


def test_costs_stay_fp32_under_autocast() -> None:
    logits, targets, weight = random_masks(4, 3, 50, 1)
    for cost in (mask_bce_cost, dice_cost):
        with torch.autocast("cpu", torch.bfloat16):
            under_autocast = cost(logits, targets, weight)
        assert torch.equal(under_autocast, cost(logits, targets, weight))
