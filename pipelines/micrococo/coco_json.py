"""The json of micrococo: what a scene adds to COCO's panoptic and instances annotations."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from pipelines.micrococo.render import Scene
from pipelines.micrococo.world import MICROCOCO_CATEGORIES, MicrococoCategory

_DATE: Final = "2025-01-01 00:00:00"  # fixed, since the same seed has to give the same bytes
_MOST_SEGMENTS: Final = 1000  # more than a scene can hold, so that annotation ids are unique


def image_entry(image_id: int, size: int) -> dict[str, Any]:
    """An image of `size` × `size` px, in both files."""
    return {
        "license": 1,
        "file_name": f"{image_id:012d}.jpg",
        "coco_url": "",
        "height": size,
        "width": size,
        "date_captured": _DATE,
        "flickr_url": "",
        "id": image_id,
    }


def panoptic_entry(image_id: int, scene: Scene, ids: NDArray[np.int64]) -> dict[str, Any]:
    """The panoptic annotation of an image; `ids` are those of its segments in the PNG."""
    segments = [
        {
            "id": int(ids[segment]),
            "category_id": MICROCOCO_CATEGORIES[category].id,
            "iscrowd": int(scene.crowds[segment]),
            **_extent(scene.segments == segment),
        }
        for segment, category in enumerate(scene.categories)
    ]
    return {"segments_info": segments, "file_name": f"{image_id:012d}.png", "image_id": image_id}


def instance_entries(image_id: int, scene: Scene) -> list[dict[str, Any]]:
    """The instance annotations of an image: its visible things, their masks as run-length codes."""
    entries = []
    for segment, index in enumerate(scene.categories):
        category, mask = MICROCOCO_CATEGORIES[index], scene.segments == segment
        if category.isthing:
            code = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
            entries.append(
                {
                    "id": _MOST_SEGMENTS * image_id + segment,
                    "image_id": image_id,
                    "category_id": category.id,
                    "iscrowd": int(scene.crowds[segment]),
                    "segmentation": {"size": list(mask.shape), "counts": code["counts"].decode("ascii")},
                    **_extent(mask),
                }
            )
    return entries


def panoptic_json(images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole panoptic json."""
    return _dataset(images, annotations, [_category_entry(category) for category in MICROCOCO_CATEGORIES])


def instances_json(images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole instances json, whose categories are the things."""
    things = [_category_entry(category) for category in MICROCOCO_CATEGORIES if category.isthing]
    return _dataset(images, annotations, things)


def _dataset(
    images: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "info": {
            "description": "micrococo: a rendered world of coloured shapes on textured grounds",
            "url": "",
            "version": "1.1",
            "year": 2025,
            "contributor": "concat",
            "date_created": _DATE,
        },
        "licenses": [{"url": "https://www.apache.org/licenses/LICENSE-2.0", "id": 1, "name": "Apache License 2.0"}],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def _extent(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Area in px and box [x, y, width, height] of a mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
    return {"bbox": box, "area": int(mask.sum())}


def _category_entry(category: MicrococoCategory) -> dict[str, Any]:
    return {
        "supercategory": category.form if category.isthing else "ground",
        "color": list(category.color),
        "isthing": int(category.isthing),
        "id": category.id,
        "name": category.name,
    }
