"""Writes small folders of images and label maps for tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.data.files.archives import Files, open_files
from pipelines.data.formats.label_map import write_label_map


@dataclass(frozen=True)
class LabelMapWorld:
    """Where images and label maps lie."""

    root: Path

    @property
    def images(self) -> Files:
        return open_files(self.root / "images")

    @property
    def labels(self) -> Files:
        return open_files(self.root / "labels")


def write_label_maps(root: Path, maps: Mapping[str, NDArray[np.integer]]) -> LabelMapWorld:
    """Label maps by name (without suffix), each with a gray image of its size."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, values in maps.items():
        write_label_map(root / "labels" / f"{name}.png", values)
        write_image(root / "images" / f"{name}.jpg", *values.shape)
    return LabelMapWorld(root)


def write_image(path: Path, height: int, width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (width, height), 99).save(path)
