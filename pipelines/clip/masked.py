"""Masked images: one segment as CLIP gets to see it.

`full` keeps the frame, so CLIP's own preprocessing (resize of the shorter side, centre crop) treats a masked image
exactly as it treats the complete one, and cuts what lies at the far ends of an oblong image (reading: the paper says
no more than "masked image"). `crop` takes the segment's box, padded to a square so that nothing is cut.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def masked_image(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], *, masked: Literal["full", "crop"], fill: tuple[int, int, int]
) -> Image.Image:
    """The image with all but one segment painted over.

    Args:
        image: H×W×3, RGB.
        mask: H×W; at least one pixel for `crop`.
        masked: the full frame, or the segment's box in the middle of a square.
        fill: colour of what is painted over and of the padding.
    """
    box = _box(mask)
    segment = image[box] * mask[box][..., None]
    if any(fill):
        segment[~mask[box]] = fill
    if masked == "crop":
        return Image.fromarray(_padded_to_square(segment, fill))
    painted = np.full(image.shape, fill, np.uint8) if any(fill) else np.zeros_like(image)
    painted[box] = segment
    return Image.fromarray(painted)


def _box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around a mask, none of an empty one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0), slice(0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _padded_to_square(image: NDArray[np.uint8], fill: tuple[int, int, int]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), fill, np.uint8)
    square[top : top + height, left : left + width] = image
    return square
