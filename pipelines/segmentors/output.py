"""What every segmentor returns."""

from typing import NamedTuple

from torch import Tensor


class SegmentorOutput(NamedTuple):
    """Queries and masks of every decoder layer, first to last.

    Attributes:
        queries: L tensors B×K×D, what a stock classifier would read (layer-normed); the last is V.
        mask_logits: L tensors B×K×H'×W', H' and W' a quarter of the input's (stride 4); the last is M.
    """

    queries: list[Tensor]
    mask_logits: list[Tensor]
