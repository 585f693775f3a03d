"""Figure 7 of the paper: image, truth, predictions and what is wrong in them, as pictures within the page."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.draw.drawing import Drawing
from pipelines.draw.overlay import Picture, display_size, overlay, resized
from pipelines.report.mistakes import Mistakes, best_median_worst
from pipelines.report.predicted import IndexMap, Reader, category_map, truth_of
from pipelines.stages.panels import labelled
from pipelines.vocabularies.vocabulary import Vocabulary, clean_name

SIDE: Final = 400  # longer side of a picture (px), shown half as large until it is enlarged
_LETTERS: Final = 17  # px, so that names can be read at half the size
_QUALITY: Final = 78  # of WebP: 10 to 30 KB a picture
_WRONG: Final = np.array((230, 76, 25), np.float32)
_NOTHING: Final = np.array((120, 60, 180), np.float32)


@dataclass(frozen=True)
class Panel:
    """A picture within the page: its data URI, its size in px and what it shows in words."""

    title: str
    uri: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class GalleryRow:
    """The panels of one image; `right` is setting → percent of its pixels whose category is right."""

    file_name: str
    right: dict[str, float]
    panels: list[Panel]


def make_gallery(
    data: LabelledImages,
    vocabulary: Vocabulary,
    predictions: Mapping[str, Reader],
    mistakes: Mistakes,
    each: int = 2,
) -> dict[str, list[GalleryRow]]:
    """Best, median and worst images by the last setting, the transductive one where there is one."""
    *_, last = predictions
    return {
        title: [_row(data, vocabulary, predictions, mistakes, index, last) for index in images]
        for title, images in best_median_worst(mistakes, last, each).items()
    }


def _row(
    data: LabelledImages,
    vocabulary: Vocabulary,
    predictions: Mapping[str, Reader],
    mistakes: Mistakes,
    index: int,
    last: str,
) -> GalleryRow:
    image = data.pixels(index)
    truth = truth_of(data, index)
    drawings = {"Truth": truth} | {setting.capitalize(): read(index) for setting, read in predictions.items()}
    right = {setting: float(100 * shares[index]) for setting, shares in mistakes.right.items()}
    size = display_size(image.shape[0], image.shape[1], SIDE)
    panels = [_panel("Image", resized(image, size), f"The image {data.file_name(index)}.")]
    for title, drawing in drawings.items():
        segments = labelled(vocabulary, drawing.category_of.items())
        picture = overlay(image, drawing.ids, segments, side=SIDE, letters=_LETTERS)
        panels.append(_panel(title, picture, f"{title}: {_in_words(drawing, vocabulary)}."))
    index_of = vocabulary.index_of()
    maps = category_map(truth, index_of), category_map(drawings[last.capitalize()], index_of)
    wrong = f"Errors of the {last} prediction: {100 - right[last]:.0f} % of the labelled pixels are wrong."
    panels.append(_panel("Errors", errors(resized(image, size), *maps), wrong))
    return GalleryRow(data.file_name(index), right, panels)


def _in_words(drawing: Drawing, vocabulary: Vocabulary) -> str:
    """The names of the segments, the unseen ones marked."""
    index_of = vocabulary.index_of()
    places = [index_of[category_id] for category_id in drawing.category_of.values()]
    categories = [vocabulary.categories[place] for place in dict.fromkeys(places)]
    names = [clean_name(c.name) + (" (unseen)" if c.unseen else "") for c in categories]
    return ", ".join(names) or "no segment"


def errors(image: Picture, truth: IndexMap, predicted: IndexMap) -> Picture:
    """A grey picture (H×W×3) on which pixels of a wrong category are orange, and those of none violet and hatched.

    Args:
        truth, predicted: category indices of any size h×w, −1 where there is none; what has no truth is dark.
    """
    height, width = image.shape[:2]
    rows = np.arange(height) * truth.shape[0] // height
    columns = np.arange(width) * truth.shape[1] // width
    truth, predicted = truth[np.ix_(rows, columns)], predicted[np.ix_(rows, columns)]
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    canvas = np.repeat(0.55 * grey[..., None] + 85, 3, axis=-1)
    canvas[truth < 0] *= 0.35
    nothing = (truth >= 0) & (predicted < 0)
    wrong = (truth >= 0) & (predicted >= 0) & (truth != predicted)
    hatching = np.add(*np.indices(truth.shape)) % 8 < 3
    for mask, colour in ((wrong, _WRONG), (nothing & hatching, _NOTHING)):
        canvas[mask] = 0.25 * canvas[mask] + 0.75 * colour
    for mask, colour in ((wrong, _WRONG), (nothing, _NOTHING)):
        canvas[_edge(mask)] = 0.6 * colour
    return canvas.round().clip(0, 255).astype(np.uint8)


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    edge: NDArray[np.bool_] = mask & ~binary_erosion(mask, border_value=1)
    return edge


def _panel(title: str, picture: Picture, alt: str) -> Panel:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="WEBP", quality=_QUALITY, method=4)
    uri = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Panel(title, uri, picture.shape[1], picture.shape[0], alt)
