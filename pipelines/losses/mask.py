"""Binary cross entropy, focal loss and dice between masks at points, as matching cost and as loss.

Cross entropy is Mask2Former's (section 3.2), focal loss MaskFormer's (section 3.2 there).
Points have weights: 0 on void, crowd, ignored and padded pixels, else 1. All in fp32, even under autocast.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from pipelines.losses.focal import sigmoid_focal


def mask_bce_cost(logits: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """Mean binary cross entropy over the weighted points, of each query with each segment.

    bce(m, t) = softplus(m) − m·t, so all pairs take one softplus and one product.

    Args:
        logits: …×K×P.
        targets: …×O×P, in [0, 1].
        weight: …×P.

    Returns:
        …×K×O.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits, weight = logits.float(), weight.float()[..., None, :]
        empty = (softplus(logits) * weight).sum(-1, keepdim=True)  # …×K×1, the cost were the target all zero
        overlap = torch.einsum("...kp,...op->...ko", logits * weight, targets.float())
        return (empty - overlap) / weight.sum(-1, keepdim=True).clamp(min=1)


def mask_focal_cost(logits: Tensor, targets: Tensor, weight: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """Mean focal loss over the weighted points, of each query with each segment.

    Args and Returns: as `mask_bce_cost`; `alpha` and `gamma` as `sigmoid_focal`.
    """
    with torch.autocast(logits.device.type, enabled=False):
        targets, weight = targets.float(), weight.float()[..., None, :]
        inside = sigmoid_focal(logits, torch.ones_like(logits), alpha=alpha, gamma=gamma) * weight
        outside = sigmoid_focal(logits, torch.zeros_like(logits), alpha=alpha, gamma=gamma) * weight
        cost = torch.einsum("...kp,...op->...ko", inside - outside, targets) + outside.sum(-1, keepdim=True)
        return cost / weight.sum(-1, keepdim=True).clamp(min=1)


def dice_cost(logits: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """1 − (2 Σ w p t + 1) / (Σ w p + Σ w t + 1) of each query with each segment.

    Args and Returns: as `mask_bce_cost`.
    """
    with torch.autocast(logits.device.type, enabled=False):
        weight = weight.float()[..., None, :]
        probability = logits.float().sigmoid() * weight
        overlap = torch.einsum("...kp,...op->...ko", probability, targets.float())
        area = (targets.float() * weight).sum(-1)[..., None, :]  # …×1×O
        return 1 - (2 * overlap + 1) / (probability.sum(-1, keepdim=True) + area + 1)


def mask_bce(logits: Tensor, targets: Tensor, weight: Tensor, *, normaliser: float) -> Tensor:
    """Binary cross entropy of matched pairs: mean over weighted points, summed over pairs ÷ max(normaliser, 1).

    Args:
        logits: M×P.
        targets: M×P, in [0, 1].
        weight: M×P.
        normaliser: number of matched segments in the batch.
    """
    loss = binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none") * weight
    return (loss.sum(-1) / weight.float().sum(-1).clamp(min=1)).sum() / max(normaliser, 1)


def mask_focal(
    logits: Tensor, targets: Tensor, weight: Tensor, *, alpha: float, gamma: float, normaliser: float
) -> Tensor:
    """Focal loss of matched pairs: mean over weighted points, summed over pairs ÷ max(normaliser, 1).

    A target between 0 and 1 (a point between pixels) counts for both, by its share.

    Args: as `mask_bce`; `alpha` and `gamma` as `sigmoid_focal`.
    """
    targets, weight = targets.float(), weight.float()
    inside = sigmoid_focal(logits, torch.ones_like(logits), alpha=alpha, gamma=gamma)
    outside = sigmoid_focal(logits, torch.zeros_like(logits), alpha=alpha, gamma=gamma)
    loss = (targets * inside + (1 - targets) * outside) * weight
    return (loss.sum(-1) / weight.sum(-1).clamp(min=1)).sum() / max(normaliser, 1)


def mask_dice(logits: Tensor, targets: Tensor, weight: Tensor, *, normaliser: float) -> Tensor:
    """Dice loss of matched pairs, smoothed by 1 as Mask2Former's, summed over pairs ÷ max(normaliser, 1).

    Args: as `mask_bce`.
    """
    probability, targets = logits.float().sigmoid() * weight, targets.float()
    overlap = (probability * targets).sum(-1)
    area = probability.sum(-1) + (targets * weight).sum(-1)
    return (1 - (2 * overlap + 1) / (area + 1)).sum() / max(normaliser, 1)
