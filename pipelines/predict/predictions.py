"""What a prediction of one image says, one type a task: to draw, to tabulate, to save."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.ndimage import find_objects

from pipelines.base.errors import ConcatError
from pipelines.base.files import write_json
from pipelines.data.formats.label_map import LARGEST, write_label_map
from pipelines.data.formats.panoptic_png import write_panoptic_png
from pipelines.draw.overlay import PANEL_SIDE, LabelledSegment, overlay
from pipelines.inference.instance import DRAWN_FROM, Rle
from pipelines.predict.prediction_files import Json, PredictionFiles, Row
from pipelines.vocabularies.vocabulary import Category, Vocabulary, write_part

_SIDES: Final = (PANEL_SIDE, 1024)

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Segment:
    """A segment of a panoptic or a region of a semantic prediction.

    Attributes:
        id: in the map of ids; of a region, that of its category.
        score: class probability; a region has none.
        area: in px.
        box: x, y, width and height in px.
    """

    id: int
    category: Category
    score: float | None
    area: int
    box: Box


@dataclass(frozen=True)
class Instance:
    """A thing: class probability × mean mask probability, mask as COCO's RLE, area in px, box as of a segment."""

    category: Category
    score: float
    rle: Rle
    area: int
    box: Box

    def mask(self) -> NDArray[np.bool_]:
        """H×W."""
        return coco_mask.decode(self.rle).astype(bool)


class View(NamedTuple):
    """What of a prediction is drawn and tabulated.

    Attributes:
        ids: int32, H×W, what is drawn at each pixel; 0 is nothing.
        drawn: the ids to draw, each with its category.
        listed: what stands in the table, by the id that it bears there.
    """

    ids: NDArray[np.int32]
    drawn: list[tuple[int, Category]]
    listed: list[tuple[int, "Segment | Instance"]]


def _overlay(prediction: "Prediction", side: int | None = None) -> Image.Image:
    """The picture with what is shown filled, outlined and named; the longer side is `side` px."""
    view, pixels = prediction.view(), prediction.pixels
    side = side or min(max(*pixels.shape[:2], _SIDES[0]), _SIDES[1])
    labelled = [LabelledSegment(id, c.name, c.color, c.unseen, c.isthing) for id, c in view.drawn]
    return Image.fromarray(overlay(pixels, view.ids, labelled, side=side))


def _table(prediction: "Prediction") -> list[Row]:
    """A row for each segment, region or instance shown."""
    height, width, _ = prediction.pixels.shape
    return [_row(id, found, height * width) for id, found in prediction.view().listed]


def _row(id: int, found: "Segment | Instance", pixels: int) -> Row:
    category, score = found.category, None if found.score is None else round(found.score, 4)
    kind, share = "thing" if category.isthing else "stuff", round(100 * found.area / pixels, 2)
    return Row(id, category.name, kind, category.unseen, score, found.area, share, *found.box)


def _save(prediction: "Prediction", folder: Path | str, stem: str) -> None:
    """Writes overlay, table and the official form below `folder`, as `concat predict` does."""
    files = PredictionFiles(Path(folder))
    files.add(f"{stem}.png", prediction)
    files.finish()


@dataclass(frozen=True)
class PanopticResult:
    """Segments that do not overlap.

    Attributes:
        pixels: the picture, uint8, H×W×3.
        vocabulary: the names asked for, those unknown to training marked unseen.
        ids: int32, H×W, the segment of each pixel; 0 is void.
        segments: by falling score.
    """

    pixels: NDArray[np.uint8]
    vocabulary: Vocabulary
    ids: NDArray[np.int32]
    segments: tuple[Segment, ...]

    overlay, table, save = _overlay, _table, _save

    def view(self) -> View:
        """All segments."""
        return View(self.ids, [(s.id, s.category) for s in self.segments], [(s.id, s) for s in self.segments])

    def write(self, folder: Path, name: str, image_id: int) -> list[Json]:
        """Writes `panoptic/NAME.png`; returns the annotation."""
        write_panoptic_png(folder / "panoptic" / f"{name}.png", self.ids)
        return [{"image_id": image_id, "file_name": f"{name}.png", "segments_info": official_segments(self)}]

    def write_json(self, folder: Path, listed: Json, found: list[Json]) -> None:
        """Writes `panoptic.json` of all images."""
        write_json(folder / "panoptic.json", {**listed, "annotations": found}, indent=None)


@dataclass(frozen=True)
class SemanticResult:
    """A category for each pixel.

    Attributes:
        pixels: the picture, uint8, H×W×3.
        vocabulary: the names asked for, those unknown to training marked unseen.
        labels: int32, H×W, category ids.
        regions: the categories that occur, by falling area.
    """

    pixels: NDArray[np.uint8]
    vocabulary: Vocabulary
    labels: NDArray[np.int32]
    regions: tuple[Segment, ...]

    overlay, table, save = _overlay, _table, _save

    def view(self) -> View:
        """All regions; drawn by their ids and one, since the id 0 is a category here, not void."""
        return View(self.labels + 1, [(s.id + 1, s.category) for s in self.regions], [(s.id, s) for s in self.regions])

    def write(self, folder: Path, name: str, image_id: int) -> list[Json]:  # noqa: ARG002  (a label map knows no image)
        """Writes the label map `semantic/NAME.png`.

        Raises:
            ConcatError: a category id does not fit into one.
        """
        highest = max(self.vocabulary.ids)
        if highest > LARGEST:
            raise ConcatError(
                f"The category id {highest} does not fit into a label map.",
                mend=f"Use a vocabulary of ids up to {LARGEST} for the semantic task.",
            )
        write_label_map(folder / "semantic" / f"{name}.png", self.labels)
        return []

    def write_json(self, folder: Path, listed: Json, found: list[Json]) -> None:  # noqa: ARG002
        """Writes `semantic.json`, the vocabulary of the maps' values."""
        write_part(folder / "semantic.json", self.vocabulary)


@dataclass(frozen=True)
class InstanceResult:
    """Things, which may overlap.

    Attributes:
        pixels: the picture, uint8, H×W×3.
        vocabulary: the things asked for, those unknown to training marked unseen.
        instances: all, by falling score.
        shown_from: score from which they are drawn and tabulated.
    """

    pixels: NDArray[np.uint8]
    vocabulary: Vocabulary
    instances: tuple[Instance, ...]
    shown_from: float = DRAWN_FROM

    overlay, table, save = _overlay, _table, _save

    @property
    def shown(self) -> list[Instance]:
        """Those that are drawn and tabulated."""
        return [instance for instance in self.instances if instance.score >= self.shown_from]

    def view(self) -> View:
        """Those shown, the best in front; the ids count them."""
        ids = np.zeros(self.pixels.shape[:2], np.int32)
        numbered = list(enumerate(self.shown, start=1))
        for number, instance in reversed(numbered):
            ids[instance.mask()] = number
        return View(ids, [(number, instance.category) for number, instance in numbered], [*numbered])

    def write(self, folder: Path, name: str, image_id: int) -> list[Json]:  # noqa: ARG002  (results need no file)
        """The results of COCO's format."""
        return [
            {
                "image_id": image_id,
                "category_id": instance.category.id,
                "segmentation": instance.rle,
                "bbox": [float(side) for side in instance.box],
                "score": round(instance.score, 6),
            }
            for instance in self.instances
        ]

    def write_json(self, folder: Path, listed: Json, found: list[Json]) -> None:
        """Writes `instances.json`, the results of all images, and `images.json`."""
        write_json(folder / "instances.json", found, indent=None)
        write_json(folder / "images.json", listed, indent=None)


Prediction = PanopticResult | SemanticResult | InstanceResult


def boxes_of(ids: NDArray[np.int32]) -> dict[int, Box]:
    """The box of every id but 0 in a map."""
    found = enumerate(find_objects(ids), start=1)
    return {
        id: (place[1].start, place[0].start, place[1].stop - place[1].start, place[0].stop - place[0].start)
        for id, place in found
        if place is not None
    }


def official_segments(prediction: PanopticResult) -> list[dict[str, Any]]:
    """The `segments_info` of COCO's panoptic format, with scores."""
    return [
        {
            "id": s.id,
            "category_id": s.category.id,
            "score": None if s.score is None else round(s.score, 6),
            "area": s.area,
            "bbox": list(s.box),
            "iscrowd": 0,
        }
        for s in prediction.segments
    ]
