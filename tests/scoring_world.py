"""Small truths and predictions of every task, whose scores can be worked out by hand."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from panoptic_world import OTHER_THING, STUFF, THING, UNSEEN, VOCABULARY, World, segment, write_world
from pycocotools import mask as coco_mask

from pipelines.data.formats.label_map import write_label_map

LEFT, RIGHT = np.s_[:, :3], np.s_[:, 3:]
TOP, BOTTOM = np.s_[:2], np.s_[2:]


@dataclass(frozen=True)
class Paths:
    """Truth, predictions and the vocabulary of both."""

    truth: Path
    predictions: Path
    vocabulary: Path

    def png(self, name: str) -> Path:
        """A panoptic PNG of the predictions."""
        return self.predictions.with_suffix("") / name

    @property
    def options(self) -> list[object]:
        """For `concat score`."""
        return ["--truth", self.truth, "--predictions", self.predictions, "--vocabulary", self.vocabulary]


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Changes the content of a json in place, or puts what `change` returns in its place."""
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed))


def ids_of(*painted: tuple[Any, int]) -> NDArray[np.int32]:
    """A 4×6 map with ids painted into regions."""
    ids = np.zeros((4, 6), np.int32)
    for region, id in painted:
        ids[region] = id
    return ids


def write_panoptic_pair(root: Path) -> Paths:
    """Image 1: cat (IoU ¾) and sky (1); image 2: cow (1), and a dog taken for a cat. Of four categories, cow is unseen.

    PQ: cat 0.75 / (1 + ½) = 50 %, dog 0, sky 100, cow 100.
    """
    truth = write_world(
        root / "truth",
        {
            1: (ids_of((LEFT, 1), (RIGHT, 2)), [segment(1, THING, area=12), segment(2, STUFF, area=12)]),
            2: (ids_of((TOP, 3), (BOTTOM, 4)), [segment(3, UNSEEN, area=12), segment(4, OTHER_THING, area=12)]),
        },
    )
    return _paths(
        root,
        truth,
        {
            1: (ids_of((np.s_[:3, :3], 70000), (RIGHT, 6)), [segment(70000, THING), segment(6, STUFF)]),
            2: (ids_of((TOP, 7), (BOTTOM, 8)), [segment(7, UNSEEN), segment(8, THING)]),
        },
    )


def write_novel_pair(root: Path) -> Paths:
    """The same truth; cows alone are predicted: on image 1 where there is none, on image 2 too large by half a dog."""
    pair = write_panoptic_pair(root)
    return _paths(
        root / "novel",
        World(pair.truth, root, root),
        {
            1: (ids_of((LEFT, 1)), [segment(1, UNSEEN)]),
            2: (ids_of((np.s_[:3], 7)), [segment(7, UNSEEN)]),
        },
    )


def write_semantic_pair(root: Path) -> Paths:
    """Two label maps. a: 12 px cat, of which 9 are right and 3 nothing, 12 px sky; b: 12 px cow, right, 6 px dog, taken
    for cat, 6 px ignored.

    IoU: cat 9 / (12 + 6) = 50 %, dog 0, sky 100, cow 100; pAcc (9 + 12 + 12) / 42.
    """
    folders = root / "truth", root / "predictions"
    a = ids_of((LEFT, THING), (RIGHT, STUFF))
    b = ids_of((TOP, UNSEEN), (BOTTOM, OTHER_THING), (np.s_[3:], 255))
    for folder, maps in zip(
        folders,
        ((a, b), (ids_of((np.s_[:3, :3], THING), (RIGHT, STUFF)), ids_of((TOP, UNSEEN), (BOTTOM, THING)))),
        strict=True,
    ):
        for name, values in zip("ab", maps, strict=True):
            write_label_map(folder / f"{name}.png", values)
    return Paths(*folders, _vocabulary(root))


def write_instance_pair(root: Path) -> Paths:
    """Two images with a cat, a cow and a dog; the cat and the cow are found, the dog is taken for a cat."""
    root.mkdir(parents=True)
    truth = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 4, "width": 6} for i in (1, 2)],
        "annotations": [
            {
                "id": id,
                "image_id": image,
                "category_id": category,
                "segmentation": rle(region),
                "bbox": box,
            }
            for id, image, category, region, box in (
                (1, 1, THING, LEFT, [0, 0, 3, 4]),
                (2, 2, UNSEEN, TOP, [0, 0, 6, 2]),
                (3, 2, OTHER_THING, BOTTOM, [0, 2, 6, 2]),
            )
        ],
        "categories": [{"id": c.id, "name": c.name} for c in VOCABULARY.categories if c.isthing],
    }
    results = [
        {"image_id": 1, "category_id": THING, "score": 0.9, "segmentation": rle(LEFT)},
        {"image_id": 2, "category_id": UNSEEN, "score": 0.8, "segmentation": rle(TOP)},
        {"image_id": 2, "category_id": THING, "score": 0.95, "segmentation": rle(BOTTOM)},
    ]
    paths = Paths(root / "truth.json", root / "results.json", _vocabulary(root))
    paths.truth.write_text(json.dumps(truth))
    paths.predictions.write_text(json.dumps(results))
    return paths


def rle(region: Any) -> dict[str, Any]:
    """A region of a 4×6 image as COCO's compressed run-length encoding."""
    encoded = coco_mask.encode(np.asfortranarray(ids_of((region, 1)).astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def _paths(root: Path, truth: World, predicted: dict[int, tuple[NDArray[np.int32], list[dict[str, Any]]]]) -> Paths:
    prediction = write_world(root / "predicted", predicted)
    return Paths(truth.annotations, prediction.annotations, _vocabulary(root))


def _vocabulary(root: Path) -> Path:
    path = root / "toy.json"
    path.write_text(VOCABULARY.model_dump_json())
    return path
