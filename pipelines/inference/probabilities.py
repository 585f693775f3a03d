"""Class probabilities of queries at inference."""

import torch
from torch import Tensor


def class_probabilities(logits: Tensor, unseen: Tensor, increment: float) -> Tensor:
    """P = sigmoid(logits + increment · 1[unseen]) (CONCAT, supplement table 6).

    Args:
        logits: float, ...×N.
        unseen: bool, N.
        increment: what unseen categories are granted against the bias towards seen ones; 0 in the transductive setting.
    """
    return torch.sigmoid(logits + increment * unseen.to(logits.dtype))
