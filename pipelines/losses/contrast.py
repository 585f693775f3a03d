"""InfoNCE (van den Oord et al. 2018, eq. 4), which CONCAT's eqs. 6, 8 and 11 are once their −log is put back."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def info_nce(
    anchors: Tensor,
    keys: Tensor,
    allowed: Tensor | None = None,
    *,
    temperature: float,
    positives: Tensor | None = None,
    normaliser: float | None = None,
) -> Tensor:
    """Mean over anchors of −log exp(a_i·k_p(i)/τ) / Σ_j exp(a_i·k_j/τ), all vectors made unit length, in fp32.

    Args:
        anchors: M×C.
        keys: T×C; all but an anchor's positive are its negatives.
        allowed: bool, M×T, keys that an anchor is contrasted with, its own among them; None: all.
        temperature: τ.
        positives: int64, M, the positive key of each anchor; None: key i of anchor i.
        normaliser: what the sum over the anchors is divided by, where they are a part of those averaged over; None: M.

    Returns:
        Scalar; 0, still part of the graph, without anchors or without negatives.
    """
    if len(anchors) == 0:
        return anchors.float().sum() + 0 * keys.float().sum()
    with torch.autocast(anchors.device.type, enabled=False):
        similarity = normalize(anchors.float(), dim=-1) @ normalize(keys.float(), dim=-1).T / temperature
    if allowed is not None:
        similarity = similarity.masked_fill(~allowed, float("-inf"))
    if positives is None:
        positives = torch.arange(len(anchors), device=anchors.device)
    return cross_entropy(similarity, positives, reduction="sum") / (normaliser or len(anchors))
