"""What every alignment loss is given and returns."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from pipelines.losses.step_totals import StepTotals


@dataclass(frozen=True)
class StepTokens:
    """What CLIP saw in all images of an optimisation step, in their order, on whatever devices they are.

    Attributes:
        images: CLS tokens of the N images, N×C, unit length.
        segments: CLS tokens of their T segments, image after image, T×C.
        owner: int64, T, the image of each segment.
    """

    images: Tensor
    segments: Tensor
    owner: Tensor


@dataclass(frozen=True)
class AlignmentInput:
    """The semantic queries of a part of a step, which of them were matched, and what CLIP saw in the whole step.

    A step is computed in one part or in several; their losses are added up. So a loss contrasts its own queries with
    tokens of the whole step, and divides by `totals`, not by what it finds in its part.

    Attributes:
        semantic: S of the last decoder layer, B×K×C, unnormalised; B images of the part.
        image, query: int64, M: the image (in [0, B)) and the query of each matched pair.
        segment: int64, M: the pair's segment, in [0, T).
        tokens: of the step.
        first_image: where the part's images begin among those of the step.
        totals: counts of the step.
    """

    semantic: Tensor
    image: Tensor
    query: Tensor
    segment: Tensor
    tokens: StepTokens
    first_image: int
    totals: StepTotals


class Alignment(Protocol):
    """A module that is built of its settings and `text_dim` (C); its buffers take part in checkpoints.

    It may have `end_step(tokens: StepTokens)`, which is called once after the last part of each step.
    """

    def __call__(self, given: AlignmentInput) -> Tensor:
        """The unweighted loss of a part, a scalar."""
