"""CIA: conditional instance alignment with CLIP's CLS tokens of segments (CONCAT eq. 8)."""

from typing import Literal

from torch import Tensor, nn

from pipelines.losses.alignment import AlignmentInput
from pipelines.losses.cia_settings import CiaSettings
from pipelines.losses.contrast import info_nce


class InstanceAlignment(nn.Module):
    """CIA, unweighted."""

    def __init__(self, settings: CiaSettings, *, text_dim: int) -> None:  # noqa: ARG002  (tokens bring their width)
        super().__init__()
        self.settings = settings

    def forward(self, given: AlignmentInput) -> Tensor:
        """L_CIA of a part of a step."""
        return instance_alignment(
            given.semantic[given.image, given.query],
            given.tokens.segments,
            given.tokens.owner,
            given.segment,
            temperature=self.settings.temperature,
            negatives=self.settings.negatives,
            normaliser=given.totals.matched,
        )


def instance_alignment(
    matched: Tensor,
    tokens: Tensor,
    owner: Tensor,
    segment: Tensor,
    *,
    temperature: float,
    negatives: Literal["image", "batch"] = "image",
    normaliser: float | None = None,
) -> Tensor:
    """L_CIA (eq. 8): each matched semantic query against the CLS tokens of the masked images.

    **Readings:** an image with a single segment has nothing to contrast; it is contrasted with the batch's segments.
    Where an image has more segments than there are queries, those that no query matched are negatives, too.

    Args:
        matched: s', M×C, matched semantic queries of some images of the step.
        tokens: c', T×C, CLS tokens of all segments of the step (one without a token is left out by the caller).
        owner: int64, T, the image of each segment.
        segment: int64, M, the segment of each matched query, in [0, T).
        temperature: τ.
        negatives: the other segments of the `image`, or of the whole `batch`.
        normaliser: matched segments of the whole step; None: M.

    Returns:
        Scalar, the sum over the matched queries divided by `normaliser`; 0 if the step has fewer than two segments.
    """
    allowed = None
    if negatives == "image":
        allowed = owner[segment][:, None] == owner  # M×T
        allowed = allowed | (allowed.sum(1, keepdim=True) == 1)
    return info_nce(matched, tokens, allowed, temperature=temperature, positives=segment, normaliser=normaliser)
