"""The page of qualitative panels: image, ground truth, and the prediction of every setting."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.draw.drawing import Drawing
from pipelines.draw.overlay import LabelledSegment, Picture, overlay
from pipelines.draw.panels import panel_page, save_png
from pipelines.vocabularies.vocabulary import Vocabulary


def write_panels(
    path: Path,
    data: LabelledImages,
    vocabulary: Vocabulary,
    count: int,
    settings: Mapping[str, Callable[[int], Drawing]],
) -> None:
    """Writes a page of `count` images.

    Args:
        settings: title of a column → the prediction of the image at an index.
    """
    rows = []
    for index in _chosen(data, vocabulary, count):
        image = data.pixels(index)
        columns = [("image", image), ("ground truth", truth_overlay(data, index, vocabulary))]
        for setting, drawing_of in settings.items():
            drawing = drawing_of(index)
            columns.append((setting, overlay(image, drawing.ids, labelled(vocabulary, drawing.category_of.items()))))
        rows.append((data.file_name(index), columns))
    save_png(path, panel_page(rows))


def _chosen(data: LabelledImages, vocabulary: Vocabulary, count: int) -> list[int]:
    """Evenly spread over the images with unseen segments, so that the choice favours no prediction."""
    unseen = set(vocabulary.unseen.ids)
    with_unseen = [i for i in range(len(data)) if any(s.category_id in unseen for s in data.truth_segments(i))]
    pool = with_unseen if len(with_unseen) >= count else list(range(len(data)))
    return [pool[i] for i in np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).astype(int))]


def labelled(vocabulary: Vocabulary, segments: Iterable[tuple[int, int]]) -> list[LabelledSegment]:
    """Segments to draw, from their ids and category ids."""
    index_of, drawn = vocabulary.index_of(), []
    for identity, category_id in segments:
        category = vocabulary.categories[index_of[category_id]]
        drawn.append(LabelledSegment(identity, category.name, category.color, category.unseen, category.isthing))
    return drawn


def truth_overlay(data: LabelledImages, index: int, vocabulary: Vocabulary) -> Picture:
    """An image under its ground truth."""
    ids, segments = data.truth(index)
    image = data.pixels(index)
    return overlay(image, ids, labelled(vocabulary, ((s.id, s.category_id) for s in segments)))
