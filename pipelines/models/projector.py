"""Semantic projector and text classifier: P = sigmoid(scale · cos(S, A) + bias), S = projector(V) (CONCAT, eq. 1)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.models.projector_settings import ProjectorSettings


class SemanticProjector(nn.Module):
    """Vision queries → semantic queries: two linear layers with an activation between.

    Args:
        dim_in: D, width of a vision query.
        hidden: width between the layers.
        dim_out: C, width of a text embedding.
        activation: between the layers.
    """

    def __init__(self, *, dim_in: int, hidden: int, dim_out: int, activation: Literal["relu", "gelu"]) -> None:
        super().__init__()
        activations: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}
        self.layers = nn.Sequential(nn.Linear(dim_in, hidden), activations[activation](), nn.Linear(hidden, dim_out))

    def forward(self, queries: Tensor) -> Tensor:
        """V (…×D) → S (…×C), not normalised."""
        semantic: Tensor = self.layers(queries)
        return semantic


class TextClassifier(nn.Module):
    """Cosine similarity to the names' text embeddings, scaled and shifted.

    The papers print a bare inner product; scale and bias are a reading of them (method.md), since a sigmoid of a cosine
    cannot leave [0.27, 0.73]. The scale is learned as its logarithm and so stays positive.

    Args:
        logit_scale: scale at the start.
        logit_bias: bias at the start (the focal prior).
        learn: whether both are learned.
    """

    def __init__(self, *, logit_scale: float, logit_bias: float, learn: bool) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(logit_scale)), requires_grad=learn)
        self.bias = nn.Parameter(torch.tensor(float(logit_bias)), requires_grad=learn)

    def forward(self, semantic_queries: Tensor, text_embeddings: Tensor) -> Tensor:
        """Logits exp(log_scale) · cos(S, A) + bias.

        Args:
            semantic_queries: S, …×C, of any length.
            text_embeddings: A, N×C, unit length.

        Returns:
            …×N.
        """
        with torch.autocast(semantic_queries.device.type, enabled=False):  # no loss is computed of halved precision
            cosine = F.normalize(semantic_queries.float(), dim=-1) @ text_embeddings.T
            logits: Tensor = self.log_scale.exp() * cosine + self.bias
        return logits

    def with_no_object(self, logits: Tensor) -> Tensor:
        """Appends ∅'s column for the softmax variant: …×N → …×(N + 1).

        Its logit is 0. A softmax sees only differences, so the learned bias of the names takes the part of a learned
        logit of ∅.
        """
        return F.pad(logits, (0, 1))


class ProjectionHead(nn.Module):
    """Projector and classifier, the part that finetuning trains and saves."""

    def __init__(self, projector: SemanticProjector, classifier: TextClassifier) -> None:
        super().__init__()
        self.projector = projector
        self.classifier = classifier

    def forward(self, queries: Tensor, text_embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Vision queries V (…×D) and text embeddings A (N×C, unit length) → S (…×C) and logits (…×N)."""
        semantic_queries = self.projector(queries)
        return semantic_queries, self.classifier(semantic_queries, text_embeddings)


def build_projection_head(settings: ProjectorSettings, *, query_dim: int, text_dim: int) -> ProjectionHead:
    """Builds the head for vision queries of `query_dim` (D) and text embeddings of `text_dim` (C) components."""
    return ProjectionHead(
        SemanticProjector(
            dim_in=query_dim, hidden=settings.hidden_dim, dim_out=text_dim, activation=settings.activation
        ),
        TextClassifier(logit_scale=settings.logit_scale, logit_bias=settings.logit_bias, learn=settings.learn_scale),
    )
