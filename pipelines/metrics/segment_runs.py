"""Id maps as runs of equal pixels, of which there are a hundred times fewer than pixels."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_ID_BITS: Final = 32

IdMap = NDArray[np.integer]
Overlaps = dict[tuple[int, int], int]


@dataclass(frozen=True)
class SegmentRuns:
    """An id map, row after row, as its runs of equal ids: what is made once of a truth that is compared often.

    Attributes:
        starts: integer, (n,), rising: the index of each run's first pixel in the flattened map.
        ids: integer, (n,): the id of each run, at least 0.
        shape: (H, W) of the map.
    """

    starts: NDArray[np.integer]
    ids: NDArray[np.integer]
    shape: tuple[int, ...]


def runs_of(ids: IdMap) -> SegmentRuns:
    """The runs of an id map: integer, H×W, 0 to 2³¹−1."""
    flat = ids.reshape(-1)
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))[: flat.size]
    return SegmentRuns(starts, flat[starts], ids.shape)


def count_overlaps(truth: SegmentRuns, predicted: SegmentRuns) -> Overlaps:
    """Pixels of every (truth id, predicted id) that share some, by rising ids; the shapes are equal."""
    starts = np.concatenate((truth.starts, predicted.starts))
    order = np.argsort(starts, kind="stable")  # two rising parts: merged, not sorted
    starts = starts[order]
    truths_so_far = np.cumsum(order < truth.starts.size)
    predicted_so_far = np.arange(1, starts.size + 1) - truths_so_far
    lengths = np.diff(starts, append=truth.shape[0] * truth.shape[1])
    apart = lengths > 0  # of two runs that start together, the second knows both
    truth_ids = truth.ids[truths_so_far[apart] - 1].astype(np.int64)
    pairs = truth_ids << _ID_BITS | predicted.ids[predicted_so_far[apart] - 1].astype(np.int64)
    values, which = np.unique(pairs, return_inverse=True)
    pixels = np.bincount(which, weights=lengths[apart]).astype(np.int64)
    mask = (1 << _ID_BITS) - 1
    return {(value >> _ID_BITS, value & mask): n for value, n in zip(values.tolist(), pixels.tolist(), strict=True)}
