"""Write micrococo, the embedded world, as a data set in COCO's layouts: panoptic, label maps and instances."""

import os
import shutil
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.base.errors import ConcatError
from pipelines.base.files import write_json
from pipelines.base.parallel import in_processes, paying_workers
from pipelines.micrococo.coco_json import (
    image_entry,
    instance_entries,
    instances_json,
    panoptic_entry,
    panoptic_json,
)
from pipelines.micrococo.render import NATIVE_SIZE, STREAMS, VOID, Scene, render_scene, scene_rng
from pipelines.micrococo.world import ALL_CATEGORIES, MICROCOCO_CATEGORIES, SEEN_CATEGORIES, MicrococoCategory

__all__ = ["MICROCOCO_CATEGORIES", "SPLITS", "MicrococoCategory", "make_micrococo", "vocabulary_toml"]

SPLITS: Final = ("train", "val", "tune")
SEEN_ONLY_SHARE: Final = 0.5
"""Share of training scenes drawn from seen categories alone; the others may hold any: the split has some to drop."""
_JPEG: Final[dict[str, Any]] = {"quality": 95, "subsampling": 0}
_LARGEST_SEGMENT_ID: Final = 2**24 - 1  # what three bytes of a pixel hold

Progress = Callable[[int], None]
"""Told how many more images are done."""


@dataclass(frozen=True)
class _Records:
    """What one image adds to the two json files."""

    image: dict[str, Any]
    annotation: dict[str, Any]
    instances: list[dict[str, Any]]


def make_micrococo(
    root: Path,
    *,
    train: int = 6000,
    val: int = 400,
    tune: int = 400,
    size: int = NATIVE_SIZE,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Render the data set into `root`.

    Images are `{split}2017/*.jpg`. Their labels stand there in three forms, as COCO's do:
    `annotations/panoptic_{split}2017.json` with its folder of PNGs, `stuffthingmaps/{split}2017/*.png` (each pixel's
    category id, 0 for void) and `annotations/instances_{split}2017.json` (things alone).

    Everything is written into `ROOT.partial`, which becomes `root` when it is complete.

    Args:
        root: folder to make; must be absent or empty.
        train: number of images in the train split.
        val: in the val split.
        tune: in the tune split, on which settings are chosen.
        size: image side in px.
        seed: the same seed gives the same bytes, whatever the other splits' sizes and the number of workers.
        workers: processes that render; 1 or less renders in this one.
        progress: called with 1 after every image.

    Raises:
        ConcatError: `root` holds something already.
    """
    if root.exists() and any(root.iterdir()):
        raise ConcatError("The folder for micrococo is not empty.", file=root, mend="Name another folder or remove it.")
    unfinished = root.with_name(root.name + ".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    for split, count in zip(SPLITS, (train, val, tune), strict=True):
        records = []
        images = _write_images(unfinished, split, count=count, size=size, seed=seed, workers=workers)
        with closing(images):  # an interruption then gives up what is still to be rendered
            for record in images:
                records.append(record)
                if progress is not None:
                    progress(1)
        images_listed = [record.image for record in records]
        forms = {
            "panoptic": panoptic_json(images_listed, [record.annotation for record in records]),
            "instances": instances_json(images_listed, [entry for record in records for entry in record.instances]),
        }
        for form, content in forms.items():
            write_json(unfinished / "annotations" / f"{form}_{split}2017.json", content, indent=None)
    for path in unfinished.rglob("*"):
        os.utime(path, (0, 0))  # scenes rendered again after a cache was emptied are the same to every stage
    unfinished.replace(root)


def _write_images(
    root: Path, split: str, *, count: int, size: int, seed: int, workers: int
) -> Generator[_Records, None, None]:
    """Write a split's images and PNGs; yields their records in the order of the index."""
    for folder in (f"{split}2017", f"annotations/panoptic_{split}2017", f"stuffthingmaps/{split}2017"):
        (root / folder).mkdir(parents=True)
    write = partial(_write_image, root=root, split=split, size=size, seed=seed)
    yield from in_processes(write, range(count), workers=min(workers, paying_workers(count, worth=200)))


def _write_image(index: int, *, root: Path, split: str, size: int, seed: int) -> _Records:
    rng, scene = _drawn(index, split=split, size=size, seed=seed)
    ids = _segment_ids(rng, len(scene.categories))
    image_id = _image_id(split, index)
    name = f"{image_id:012d}"
    _picture(scene).save(root / f"{split}2017" / f"{name}.jpg", **_JPEG)
    _id_picture(scene.segments, ids).save(root / "annotations" / f"panoptic_{split}2017" / f"{name}.png")
    _label_map(scene).save(root / "stuffthingmaps" / f"{split}2017" / f"{name}.png")
    return _Records(
        image_entry(image_id, size), panoptic_entry(image_id, scene, ids), instance_entries(image_id, scene)
    )


def _drawn(index: int, *, split: str, size: int, seed: int) -> tuple[np.random.Generator, Scene]:
    """A scene of a split, and the randomness that its labels go on with."""
    rng = scene_rng(seed, split, index)
    seen_only = split == "train" and rng.random() < SEEN_ONLY_SHARE
    return rng, render_scene(rng, size=size, allowed=SEEN_CATEGORIES if seen_only else ALL_CATEGORIES)


def training_segments(count: int, *, size: int, seed: int) -> list[list[tuple[int, bool]]]:
    """What the first `count` training scenes hold: the category id of each segment, and whether it is a crowd."""
    scenes = [_drawn(index, split="train", size=size, seed=seed)[1] for index in range(count)]
    return [
        [
            (MICROCOCO_CATEGORIES[category].id, crowd)
            for category, crowd in zip(scene.categories, scene.crowds, strict=True)
        ]
        for scene in scenes
    ]


def _image_id(split: str, index: int) -> int:
    """Unique in all splits and full of holes; a split's ids do not depend on how large the others are."""
    return 100 + 3 * (17 * index + 7 * index % 13) + STREAMS.index(split)


def _segment_ids(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    """(count,) different random ids from 1 to 2^24 - 1."""
    ids: NDArray[np.int64] = rng.choice(_LARGEST_SEGMENT_ID, count, replace=False, shuffle=False) + 1
    return ids


def _picture(scene: Scene) -> Image.Image:
    return Image.fromarray(scene.image[..., 0]) if scene.grayscale else Image.fromarray(scene.image)


def _id_picture(segments: NDArray[np.int16], ids: NDArray[np.int64]) -> Image.Image:
    """RGB picture whose pixels are id = R + 256 G + 256² B; void is 0."""
    coded = np.append(ids, 0)[segments]  # VOID is -1: the appended 0
    assert VOID == -1
    return Image.fromarray(np.stack((coded & 255, coded >> 8 & 255, coded >> 16), axis=-1).astype(np.uint8))


def _label_map(scene: Scene) -> Image.Image:
    """Grey picture of category ids, all below 256; void is 0."""
    category_ids = np.array([*(MICROCOCO_CATEGORIES[c].id for c in scene.categories), 0], np.uint8)
    return Image.fromarray(category_ids[scene.segments])  # VOID is -1: the appended 0


def vocabulary_toml() -> str:
    """The text of `vocabularies/micrococo.toml`."""
    lines = ['name = "micrococo"']
    for category in MICROCOCO_CATEGORIES:
        lines += [
            "",
            "[[categories]]",
            f"id = {category.id}",
            f'name = "{category.name}"',
            f"isthing = {str(category.isthing).lower()}",
            f"color = {list(category.color)}",
        ]
        if category.unseen:
            lines.append("unseen = true")
    return "\n".join(lines) + "\n"
