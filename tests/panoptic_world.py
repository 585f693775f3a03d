"""Writes small data sets in COCO's panoptic layout for tests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.data.formats.panoptic_png import write_panoptic_png
from pipelines.vocabularies.vocabulary import Category, Vocabulary

THING, OTHER_THING, STUFF, UNSEEN = 7, 3, 90, 21
VOCABULARY = Vocabulary(
    name="toy",
    categories=(
        Category(id=THING, name="cat", isthing=True, color=(1, 2, 3)),
        Category(id=OTHER_THING, name="dog", isthing=True),
        Category(id=STUFF, name="sky", isthing=False),
        Category(id=UNSEEN, name="cow", isthing=True, unseen=True),
    ),
)


def segment(id: int, category_id: int, *, area: int = 1, iscrowd: int = 0) -> dict[str, Any]:
    return {"id": id, "category_id": category_id, "area": area, "iscrowd": iscrowd, "bbox": [0, 0, 1, 1]}


def image_entry(image_id: int, height: int = 4, width: int = 6) -> dict[str, Any]:
    return {"id": image_id, "file_name": f"{image_id:04d}.jpg", "height": height, "width": width, "license": 1}


def annotation_entry(image_id: int, segments: list[dict[str, Any]]) -> dict[str, Any]:
    return {"image_id": image_id, "file_name": f"{image_id:04d}.png", "segments_info": segments}


def write_panoptic_json(
    path: Path, segments_of: dict[int, list[dict[str, Any]]], height: int = 4, width: int = 6
) -> Path:
    content = {
        "info": {"year": 2025},
        "images": [image_entry(image_id, height, width) for image_id in segments_of],
        "annotations": [annotation_entry(image_id, segments) for image_id, segments in segments_of.items()],
        "categories": [{"id": c.id, "name": c.name, "isthing": int(c.isthing)} for c in VOCABULARY.categories],
    }
    path.write_text(json.dumps(content))
    return path


@dataclass(frozen=True)
class World:
    """Where a data set lies."""

    annotations: Path
    images: Path
    png: Path


def write_world(root: Path, images: dict[int, tuple[NDArray[np.int32], list[dict[str, Any]]]]) -> World:
    """Images of random noise, with the given id maps (all of one size) and segments."""
    world = World(root / "panoptic.json", root / "images", root / "panoptic")
    world.images.mkdir(parents=True)
    world.png.mkdir()
    noise = np.random.default_rng(0)
    for image_id, (ids, _) in images.items():
        write_panoptic_png(world.png / f"{image_id:04d}.png", ids)
        pixels = noise.integers(0, 256, (*ids.shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(world.images / f"{image_id:04d}.jpg")
    height, width = next(iter(images.values()))[0].shape
    write_panoptic_json(world.annotations, {i: segments for i, (_, segments) in images.items()}, height, width)
    return world
