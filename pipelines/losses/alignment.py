"""What every alignment loss is given and returns."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class AlignmentInput:
    """The semantic queries of a batch, which of them were matched, and what CLIP saw.

    Attributes:
        semantic: S of the last decoder layer, B×K×C, unnormalised.
        image, query: int64, M: the image and the query of each matched pair.
        image_tokens: CLS tokens of the images, B×C, unit length.
        segment_tokens: CLS tokens of the matched pairs' segments, M×C.
    """

    semantic: Tensor
    image: Tensor
    query: Tensor
    image_tokens: Tensor
    segment_tokens: Tensor


class Alignment(Protocol):
    """A module that is built of its settings and `text_dim` (C); its buffers take part in checkpoints."""

    def __call__(self, given: AlignmentInput) -> Tensor:
        """The unweighted loss, a scalar."""
