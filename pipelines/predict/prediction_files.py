"""Predictions as files: overlays and tables to look at, and for each task the form that the official tools read."""

import csv
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.base.files import atomic_path
from pipelines.data.formats.coco_panoptic import category_entries
from pipelines.draw.panels import save_png
from pipelines.vocabularies.vocabulary import Vocabulary

Json = dict[str, Any]


class Row(NamedTuple):
    """A line of a prediction's table: box in px; share of the picture in percent."""

    id: int
    name: str
    kind: str
    unseen: bool
    score: float | None
    area: int
    share: float
    x: int
    y: int
    width: int
    height: int


class Writable(Protocol):
    """A prediction of one image, which knows the official form of its task."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The picture, H×W×3."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The names asked for."""

    def overlay(self) -> Image.Image:
        """The picture with what was found."""

    def table(self) -> list[Row]:
        """What was found."""

    def write(self, folder: Path, name: str, image_id: int) -> list[Json]:
        """Writes the files of this image; returns its entries in the json of all images."""

    def write_json(self, folder: Path, listed: Json, found: list[Json]) -> None:
        """Writes the json of all images: `listed` are images and categories, `found` all entries."""


class PredictionFiles:
    """Writes predictions of one vocabulary below a folder; every file appears complete.

    `overlays/NAME.png` and `tables/NAME.csv` of each image; `panoptic/NAME.png` with `panoptic.json`, or
    `semantic/NAME.png` with `semantic.json` (the vocabulary of its values), or `instances.json` (results) with
    `images.json` (images and categories). The jsons are written by `finish`.

    Args:
        folder: made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._images: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []  # annotations or results
        self._last: Writable | None = None
        self._stems: set[str] = set()

    def add(self, file_name: str, prediction: Writable) -> str:
        """Writes the files of one image.

        Args:
            file_name: of the image, as the json shall list it; sub-folders are kept.

        Returns:
            NAME: without suffix; a second image of that name is called NAME-2.
        """
        name, id = self._free_name(file_name), len(self._images) + 1
        height, width, _ = prediction.pixels.shape
        self._found += prediction.write(self.folder, name, id)
        save_png(self.folder / "overlays" / f"{name}.png", prediction.overlay())
        _write_table(self.folder / "tables" / f"{name}.csv", prediction.table())
        self._images.append({"id": id, "file_name": file_name, "height": height, "width": width})
        self._last = prediction
        return name

    def finish(self) -> None:
        """Writes the jsons; nothing, if no image was added."""
        if self._last is None:
            return
        listed = {"images": self._images, "categories": category_entries(self._last.vocabulary)}
        self._last.write_json(self.folder, listed, self._found)

    def _free_name(self, file_name: str) -> str:
        stem = PurePosixPath(file_name).with_suffix("").as_posix()
        number, name = 1, stem
        while name in self._stems:
            number += 1
            name = f"{stem}-{number}"
        self._stems.add(name)
        return name


def _write_table(path: Path, rows: list[Row]) -> None:
    with atomic_path(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows([int(v) if isinstance(v, bool) else v for v in row] for row in rows)
