"""Masks as COCO's instances json states them: polygons, or runs, compressed or not."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from pycocotools import mask as coco_mask

from pipelines.metrics.numbers import is_finite, is_integer
from pipelines.metrics.rle import DamagedMaskError, Rle, checked_rle

FARTHEST: Final = 10
"""Image sides: a coordinate beyond is a mistake, and its IoU might not be a number."""


def truth_rle(segmentation: Any, size: tuple[int, int]) -> Rle:
    """The compressed RLE of an instance's mask; polygons of fewer than three corners have no pixel.

    Args:
        segmentation: what stands under "segmentation".
        size: height and width of the image in px.

    Raises:
        DamagedMaskError: it is none, or of another size.
    """
    if isinstance(segmentation, list):
        if not all(_is_polygon(polygon, size) for polygon in segmentation):
            raise DamagedMaskError("is no list of polygons x, y, x, y, … near its image")
        drawn = [polygon for polygon in segmentation if len(polygon) >= 6]  # pycocotools takes four numbers for a box
        if not drawn:
            return coco_mask.encode(np.zeros(size, np.uint8, order="F"))
        return coco_mask.merge(coco_mask.frPyObjects(drawn, *size))
    counts = segmentation.get("counts") if isinstance(segmentation, Mapping) else None
    if isinstance(counts, list):
        if not all(is_integer(run) and run >= 0 for run in counts) or sum(counts) != size[0] * size[1]:
            raise DamagedMaskError(f"has runs that do not add up to the {size[0] * size[1]} px of its image")
        compressed = coco_mask.frPyObjects({"size": list(size), "counts": counts}, *size)
        segmentation = {**segmentation, "counts": compressed["counts"]}
    return checked_rle(segmentation, size)


def _is_polygon(polygon: Any, size: tuple[int, int]) -> bool:
    if not isinstance(polygon, list) or len(polygon) % 2:
        return False
    return all(is_finite(value) and abs(value) <= FARTHEST * max(size) for value in polygon)
