"""COCO's compressed run-length encoding of masks, checked before pycocotools reads it.

pycocotools trusts what it is given: a string that ends in the middle of a number makes it read on behind its end, and
runs that do not fill the mask give numbers that mean nothing. So a string is decoded here as its `rleFrString` does:
numbers in groups of five bits, low ones first, each byte 48 plus the bits plus 32 if more follow; a number from the
fourth on is the difference to the one two before it.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Rle = dict[str, Any]  # {"size": [height, width], "counts": bytes or str}

_LONGEST: Final = 7  # bytes of a number: pycocotools keeps 32 bits


class DamagedMaskError(ValueError):
    """Something given as a mask is none; the message completes "the mask …"."""


def checked_rle(segmentation: object, size: tuple[int, int]) -> Rle:
    """A compressed RLE that pycocotools can read.

    Args:
        segmentation: what stands under "segmentation": `size` and `counts`, the latter str or bytes.
        size: height and width of the image in px.

    Raises:
        DamagedMaskError: it is of another kind or size, or its runs do not fill the image.
    """
    if not isinstance(segmentation, Mapping):
        raise DamagedMaskError("is no run-length encoding" + (" but a polygon" * isinstance(segmentation, list)))
    stated, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(stated, list | tuple) or tuple(stated) != size:
        raise DamagedMaskError(f"states the size {stated} for an image of {list(size)} (height, width)")
    if isinstance(counts, str):
        counts = counts.encode("ascii", errors="replace")
    if not isinstance(counts, bytes):
        raise DamagedMaskError("has counts that are no string: it is not compressed")
    runs = _runs(counts)
    if runs.min(initial=0) < 0 or int(runs.sum()) != size[0] * size[1]:
        raise DamagedMaskError(f"has runs that do not add up to the {size[0] * size[1]} px of its image")
    return {"size": list(size), "counts": counts}


def _runs(counts: bytes) -> NDArray[np.int64]:
    """The lengths of the runs, beginning with one outside the mask."""
    values = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((values & 32) == 0)
    if values.size == 0 or values.min() < 0 or values.max() > 63 or ends.size == 0 or ends[-1] != values.size - 1:
        raise DamagedMaskError("has counts that are no run-length string")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST:
        raise DamagedMaskError("has counts that are no run-length string")
    positions = np.arange(values.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((values & 31) << (5 * positions), starts)
    runs -= np.where(values[ends] & 16, 1 << (5 * lengths), 0)  # the sign bit
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs
