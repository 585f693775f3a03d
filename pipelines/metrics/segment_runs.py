"""Id maps as runs of equal pixels, of which there are a hundred times fewer than pixels."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LARGEST_TABLE: Final = 2**20

IdMap = NDArray[np.integer]
Overlaps = dict[tuple[int, int], int]


@dataclass(frozen=True)
class SegmentRuns:
    """An id map, row after row, as its runs of equal ids.

    Attributes:
        starts: integer, (n,), rising: the index of each run's first pixel in the flattened map.
        segments: integer, (n,): the index in `ids` of each run's id.
        ids: integer, (m,), rising: the ids in the map.
        shape: (H, W) of the map.
    """

    starts: NDArray[np.integer]
    segments: NDArray[np.integer]
    ids: NDArray[np.integer]
    shape: tuple[int, ...]

    @classmethod
    def at(cls, starts: NDArray[np.integer], ids: NDArray[np.integer], shape: tuple[int, ...]) -> "SegmentRuns":
        """From the first pixel and the id of each run."""
        found = np.unique(ids)
        return cls(starts, np.searchsorted(found, ids), found, shape)

    def replaced(self, ids: Collection[int], by: int) -> "SegmentRuns":
        """The same map with one id in the place of several."""
        if not ids:
            return self
        changed = np.where(np.isin(self.ids, list(ids)), by, self.ids)
        return SegmentRuns.at(self.starts, changed[self.segments], self.shape)


def runs_of(ids: IdMap) -> SegmentRuns:
    """The runs of an id map: integer, H×W."""
    flat = ids.reshape(-1)
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))[: flat.size]
    return SegmentRuns.at(starts, flat[starts], ids.shape)


def count_overlaps(truth: SegmentRuns, predicted: SegmentRuns) -> Overlaps:
    """Pixels of every (truth id, predicted id) that share some, by rising ids; the shapes are equal."""
    starts = np.concatenate((truth.starts, predicted.starts))
    order = np.argsort(starts, kind="stable")  # two rising parts: merged, not sorted
    truths_so_far = np.cumsum(order < truth.starts.size)
    predicted_so_far = np.arange(1, starts.size + 1) - truths_so_far
    lengths = np.diff(starts[order], append=truth.shape[0] * truth.shape[1])
    last = np.flatnonzero(lengths)  # of two runs that start together, the second knows both
    truth_segments = truth.segments[truths_so_far[last] - 1]
    pairs = truth_segments * predicted.ids.size + predicted.segments[predicted_so_far[last] - 1]
    values, pixels = _sums(pairs, lengths[last], truth.ids.size * predicted.ids.size)
    truth_ids, predicted_ids = truth.ids[values // predicted.ids.size], predicted.ids[values % predicted.ids.size]
    keys = zip(truth_ids.tolist(), predicted_ids.tolist(), strict=True)
    return dict(zip(keys, pixels.tolist(), strict=True))


def _sums(
    keys: NDArray[np.integer], amounts: NDArray[np.integer], bound: int
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """The keys there are, rising, and the sum of the amounts (above 0) of each; keys are below `bound`."""
    if bound > _LARGEST_TABLE:  # thousands of segments: noise
        values, which = np.unique(keys, return_inverse=True)
        return values, np.bincount(which, weights=amounts).astype(np.int64)
    sums = np.bincount(keys, weights=amounts)
    values = np.flatnonzero(sums)
    return values, sums[values].astype(np.int64)
