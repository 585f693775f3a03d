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
        """L_CIA of a batch."""
        return instance_alignment(
            given.semantic[given.image, given.query],
            given.segment_tokens,
            given.image,
            temperature=self.settings.temperature,
            negatives=self.settings.negatives,
        )


def instance_alignment(
    matched: Tensor,
    tokens: Tensor,
    image_index: Tensor,
    *,
    temperature: float,
    negatives: Literal["image", "batch"] = "image",
) -> Tensor:
    """L_CIA (eq. 8): each matched semantic query against the CLS tokens of the masked images.

    **Reading:** an image with a single segment has nothing to contrast; it is contrasted with the batch's segments.

    Args:
        matched: s', O×C, matched semantic queries of the batch.
        tokens: c', O×C, CLS tokens of their segments (a segment without a token is left out by the caller).
        image_index: int64, O, the image of each pair.
        temperature: τ.
        negatives: the other segments of the `image`, or of the whole `batch`.

    Returns:
        Scalar, mean over the segments; 0 if the batch has fewer than two.
    """
    allowed = None
    if negatives == "image":
        allowed = image_index[:, None] == image_index  # O×O
        allowed = allowed | (allowed.sum(1, keepdim=True) == 1)
    return info_nce(matched, tokens, allowed, temperature=temperature)
