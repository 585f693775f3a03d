"""What the losses of an optimisation step are divided by, however many parts the step is computed in."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StepTotals:
    """Counts over all images of a step, on all devices; known before any forward pass.

    Attributes:
        matched: M, matched segments, Σ min(K, O_i).
        unmatched: queries of a layer that match none.
    """

    matched: int
    unmatched: int

    @classmethod
    def of_counts(cls, counts: Sequence[int], *, queries: int) -> "StepTotals":
        """The totals of images with so many segments each, for K = `queries`."""
        matched = sum(min(queries, count) for count in counts)
        return cls(matched, queries * len(counts) - matched)
