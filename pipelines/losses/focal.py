"""Focal loss (RetinaNet, eqs. 4, 5) as classification loss and as matching cost (CONCAT eqs. 2, 13)."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus


def sigmoid_focal(logits: Tensor, targets: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """−α_t (1 − p_t)^γ log p_t of each logit, in fp32.

    Written with softplus alone, so that neither a saturated logit nor 0 < γ < 1 makes a gradient infinite.

    Args:
        logits: any shape.
        targets: same shape, 0 or 1 (soft targets are not supported).
        alpha: weight of positives, 1 − alpha that of negatives; negative: no weighting.
        gamma: focal exponent, >= 0.

    Returns:
        The loss of each element, the shape of `logits`.
    """
    targets = targets.float()
    towards = logits.float() * (2 * targets - 1)  # p_t = sigmoid(towards)
    loss = softplus(-towards) * torch.exp(-gamma * softplus(towards))
    if alpha >= 0:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return loss


def focal_cost(logits: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """What it costs to give a query a name: its focal loss as a positive minus that as a negative (Deformable DETR).

    Args:
        logits: (…, N).
        alpha: as `sigmoid_focal`.
        gamma: as `sigmoid_focal`.

    Returns:
        (…, N), fp32.
    """
    positive = sigmoid_focal(logits, torch.ones_like(logits), alpha=alpha, gamma=gamma)
    negative = sigmoid_focal(logits, torch.zeros_like(logits), alpha=alpha, gamma=gamma)
    return positive - negative


def classification_focal(logits: Tensor, labels: Tensor, *, alpha: float, gamma: float, normaliser: float) -> Tensor:
    """focal(P, y): y is one-hot, or zeros for ∅; summed over names and queries, divided by max(normaliser, 1).

    Args:
        logits: M×N.
        labels: int64, M, index of the name; −1: ∅.
        alpha: as `sigmoid_focal`.
        gamma: as `sigmoid_focal`.
        normaliser: usually the number of matched segments.
    """
    names = logits.shape[-1]
    targets = one_hot(labels + 1, names + 1)[:, 1:]  # M×N; ∅, the first column, is dropped
    return sigmoid_focal(logits, targets, alpha=alpha, gamma=gamma).sum() / max(normaliser, 1)
