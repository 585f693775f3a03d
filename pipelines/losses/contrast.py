"""InfoNCE (van den Oord et al. 2018, eq. 4), which CONCAT's eqs. 6, 8 and 11 are once their −log is put back."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def info_nce(anchors: Tensor, keys: Tensor, allowed: Tensor | None = None, *, temperature: float) -> Tensor:
    """Mean over anchors of −log exp(a_i·k_i/τ) / Σ_j exp(a_i·k_j/τ), all vectors made unit length, in fp32.

    Args:
        anchors: M×C.
        keys: (M+…)×C; key i is the positive of anchor i, all others are negatives.
        allowed: bool, M×(M+…), keys that an anchor is contrasted with, its own among them; None: all.
        temperature: τ.

    Returns:
        Scalar; 0, still part of the graph, without anchors or without negatives.
    """
    if len(anchors) == 0:
        return anchors.float().sum() + 0 * keys.float().sum()
    with torch.autocast(anchors.device.type, enabled=False):
        similarity = normalize(anchors.float(), dim=-1) @ normalize(keys.float(), dim=-1).T / temperature
    if allowed is not None:
        similarity = similarity.masked_fill(~allowed, float("-inf"))
    return cross_entropy(similarity, torch.arange(len(anchors), device=anchors.device))
