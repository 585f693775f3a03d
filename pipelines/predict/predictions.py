"""What a prediction of one image says, one type a task: to draw, to tabulate, to save."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.ndimage import find_objects

from pipelines.draw.overlay import PANEL_SIDE, LabelledSegment, overlay
from pipelines.inference.instance import DRAWN_FROM, Rle
from pipelines.vocabularies.vocabulary import Category, Vocabulary

_SIDES: Final = (PANEL_SIDE, 1024)

Box = tuple[int, int, int, int]


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

    def overlay(self, side: int | None = None) -> Image.Image:
        """The picture with its segments filled, outlined and named; the longer side is `side` px."""
        return _drawn(self.pixels, self.ids, [(s.id, s.category) for s in self.segments], side)

    def table(self) -> list[Row]:
        """A row a segment."""
        return [_row(s.id, s, self.ids.size) for s in self.segments]

    def save(self, folder: Path | str, stem: str) -> None:
        """Writes overlay, table, PNG and json below `folder`, as `concat predict` does."""
        _save(self, folder, stem)


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

    def overlay(self, side: int | None = None) -> Image.Image:
        """The picture with its regions filled, outlined and named; the longer side is `side` px."""
        shifted = [(s.id + 1, s.category) for s in self.regions]  # the id 0 is a category here, not void
        return _drawn(self.pixels, self.labels + 1, shifted, side)

    def table(self) -> list[Row]:
        """A row a region."""
        return [_row(s.id, s, self.labels.size) for s in self.regions]

    def save(self, folder: Path | str, stem: str) -> None:
        """Writes overlay, table and label map below `folder`, as `concat predict` does."""
        _save(self, folder, stem)


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

    @property
    def shown(self) -> list[Instance]:
        """Those that are drawn and tabulated."""
        return [instance for instance in self.instances if instance.score >= self.shown_from]

    def overlay(self, side: int | None = None) -> Image.Image:
        """The picture with the instances shown, the best in front; the longer side is `side` px."""
        ids = np.zeros(self.pixels.shape[:2], np.int32)
        shown = list(enumerate(self.shown, start=1))
        for number, instance in reversed(shown):
            ids[instance.mask()] = number
        return _drawn(self.pixels, ids, [(number, instance.category) for number, instance in shown], side)

    def table(self) -> list[Row]:
        """A row for each instance shown; the ids count them."""
        height, width, _ = self.pixels.shape
        return [_row(number, instance, height * width) for number, instance in enumerate(self.shown, start=1)]

    def save(self, folder: Path | str, stem: str) -> None:
        """Writes overlay, table and results json below `folder`, as `concat predict` does."""
        _save(self, folder, stem)


Prediction = PanopticResult | SemanticResult | InstanceResult


def boxes_of(ids: NDArray[np.int32]) -> dict[int, Box]:
    """The box of every id but 0 in a map."""
    found = enumerate(find_objects(ids), start=1)
    return {
        id: (place[1].start, place[0].start, place[1].stop - place[1].start, place[0].stop - place[0].start)
        for id, place in found
        if place is not None
    }


def _drawn(
    pixels: NDArray[np.uint8], ids: NDArray[np.int32], drawn: list[tuple[int, Category]], side: int | None
) -> Image.Image:
    side = side or min(max(*pixels.shape[:2], _SIDES[0]), _SIDES[1])
    labelled = [LabelledSegment(id, c.name, c.color, c.unseen, c.isthing) for id, c in drawn]
    return Image.fromarray(overlay(pixels, ids, labelled, side=side))


def _row(id: int, found: Segment | Instance, pixels: int) -> Row:
    category, score = found.category, None if found.score is None else round(found.score, 4)
    kind, share = "thing" if category.isthing else "stuff", round(100 * found.area / pixels, 2)
    return Row(id, category.name, kind, category.unseen, score, found.area, share, *found.box)


def _save(prediction: Prediction, folder: Path | str, stem: str) -> None:
    from pipelines.predict.prediction_files import PredictionFiles  # which knows these types

    files = PredictionFiles(Path(folder))
    files.add(f"{stem}.png", prediction)
    files.finish()


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
