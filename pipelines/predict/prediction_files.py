"""Predictions as files: overlays and tables to look at, and for each task the form that the official tools read."""

import csv
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.base.errors import ConcatError
from pipelines.base.files import atomic_path, write_json
from pipelines.data.formats.coco_panoptic import category_entries
from pipelines.data.formats.label_map import write_label_map
from pipelines.data.formats.panoptic_png import write_panoptic_png
from pipelines.draw.panels import save_png
from pipelines.predict.predictions import (
    InstanceResult,
    PanopticResult,
    Prediction,
    Row,
    SemanticResult,
    official_segments,
)
from pipelines.vocabularies.vocabulary import Vocabulary, write_part

_LARGEST_LABEL = 65535


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
        self._last: Prediction | None = None
        self._stems: set[str] = set()

    def add(self, file_name: str, prediction: Prediction) -> str:
        """Writes the files of one image.

        Args:
            file_name: of the image, as the json shall list it; sub-folders are kept.

        Returns:
            NAME: without suffix; a second image of that name is called NAME-2.
        """
        name, id = self._free_name(file_name), len(self._images) + 1
        height, width, _ = prediction.pixels.shape
        if isinstance(prediction, PanopticResult):
            png = f"{name}.png"
            write_panoptic_png(self.folder / "panoptic" / png, prediction.ids)
            self._found.append({"image_id": id, "file_name": png, "segments_info": official_segments(prediction)})
        elif isinstance(prediction, SemanticResult):
            _check_labels(prediction.vocabulary)
            write_label_map(self.folder / "semantic" / f"{name}.png", prediction.labels)
        else:
            self._found += [{"image_id": id, **result} for result in _results(prediction)]
        save_png(self.folder / "overlays" / f"{name}.png", prediction.overlay())
        _write_table(self.folder / "tables" / f"{name}.csv", prediction.table())
        self._images.append({"id": id, "file_name": file_name, "height": height, "width": width})
        self._last = prediction
        return name

    def finish(self) -> None:
        """Writes the jsons; nothing, if no image was added."""
        if self._last is None:
            return
        vocabulary = self._last.vocabulary
        listed = {"images": self._images, "categories": category_entries(vocabulary)}
        if isinstance(self._last, PanopticResult):
            write_json(self.folder / "panoptic.json", {**listed, "annotations": self._found}, indent=None)
        elif isinstance(self._last, SemanticResult):
            write_part(self.folder / "semantic.json", vocabulary)
        else:
            write_json(self.folder / "instances.json", self._found, indent=None)
            write_json(self.folder / "images.json", listed, indent=None)

    def _free_name(self, file_name: str) -> str:
        stem = PurePosixPath(file_name).with_suffix("").as_posix()
        number, name = 1, stem
        while name in self._stems:
            number += 1
            name = f"{stem}-{number}"
        self._stems.add(name)
        return name


def _check_labels(vocabulary: Vocabulary) -> None:
    if max(vocabulary.ids) > _LARGEST_LABEL:
        raise ConcatError(
            f"The category id {max(vocabulary.ids)} does not fit into a label map.",
            mend=f"Use a vocabulary of ids up to {_LARGEST_LABEL} for the semantic task.",
        )


def _results(prediction: InstanceResult) -> list[dict[str, Any]]:
    """COCO's results, without the image id."""
    return [
        {
            "category_id": instance.category.id,
            "segmentation": instance.rle,
            "bbox": [float(side) for side in instance.box],
            "score": round(instance.score, 6),
        }
        for instance in prediction.instances
    ]


def _write_table(path: Path, rows: list[Row]) -> None:
    with atomic_path(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows([int(v) if isinstance(v, bool) else v for v in row] for row in rows)
