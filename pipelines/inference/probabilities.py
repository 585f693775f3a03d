"""Class probabilities of queries at inference."""

import torch
from torch import Tensor

from pipelines.models.projector import ProjectionHead


def class_probabilities(logits: Tensor, unseen: Tensor, increment: float) -> Tensor:
    """P = sigmoid(logits + increment · 1[unseen]) (CONCAT, supplement table 6).

    Args:
        logits: float, ...×N.
        unseen: bool, N.
        increment: what unseen categories are granted against the bias towards seen ones; 0 in the transductive setting.
    """
    return torch.sigmoid(logits + increment * unseen.to(logits.dtype))


def query_probabilities(
    head: ProjectionHead,
    queries: Tensor,
    text: Tensor,
    unseen: Tensor,
    *,
    increment: float = 0.0,
    softmax: bool = False,
    novel_only: bool = False,
) -> Tensor:
    """P of every query, ...×N.

    Args:
        queries: V, ...×D.
        text: embeddings of the names that compete, N×C, unit length.
        unseen, increment: as of `class_probabilities`.
        softmax: the softmax variant of table 3: ∅ competes too and is then left out.
        novel_only: unseen names alone compete; the others get 0.
    """
    _, logits = head(queries, text)
    if novel_only:
        logits = logits.masked_fill(~unseen, -torch.inf)
    if not softmax:
        return class_probabilities(logits, unseen, increment)
    return head.classifier.with_no_object(logits + increment * unseen).softmax(-1)[..., :-1]
