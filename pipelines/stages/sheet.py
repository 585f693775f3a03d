"""The contact sheet of check-data: images that show many categories under their labels, and a legend of those."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.base.errors import ConcatError
from pipelines.data.checks.check import DataReport
from pipelines.data.checks.showcase import choose_images
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.draw.legend import LegendEntry
from pipelines.draw.overlay import Picture
from pipelines.draw.panels import contact_sheet, save_png
from pipelines.stages.panels import truth_overlay
from pipelines.vocabularies.colours import with_colours
from pipelines.vocabularies.vocabulary import Vocabulary

TILES: Final = (12, 24)
"""So many images a sheet shows at least, if there are as many, and at most."""


def write_sheet(path: Path, data: LabelledImages, vocabulary: Vocabulary, report: DataReport, *, name: str) -> bool:
    """Writes a PNG with images chosen to show many of a list's categories; False if no image can be shown.

    Args:
        path: the PNG.
        data: the list.
        vocabulary: its categories, unseen ones marked.
        report: of the same list, whose counts the legend tells.
        name: what the list is called on the sheet.
    """
    vocabulary = with_colours(vocabulary)
    unseen = np.array([category.unseen for category in vocabulary.categories], bool)
    chosen = choose_images(_shares(data, vocabulary), unseen, least=TILES[0], most=TILES[1])
    tiles = dict(_tiles(data, chosen, vocabulary))
    if not tiles:
        return False
    shown = {segment.category_id for index in tiles for segment in data.truth_segments(index)}
    legend = [
        LegendEntry(category.name, category.color, category.isthing, category.unseen, count.segments)
        for category, count in zip(vocabulary.categories, report.categories, strict=True)
        if category.id in shown
    ]
    occur = sum(count.segments > 0 for count in report.categories)
    some = f"all {occur}" if len(legend) == occur else f"{len(legend)} of the {occur}"
    counted = "the list" if report.counted == report.images else f"{report.counted:,} images"
    title = (
        f"{name}: {len(tiles)} of {report.images:,} images, {some} categories that occur; "
        f"below, the segments of each in {counted}"
    )
    titled = [(data.file_name(index), tile) for index, tile in tiles.items()]
    titled.sort(key=lambda tile: tile[1].shape[0] / tile[1].shape[1])  # a row of like shapes has no gaps
    save_png(path, contact_sheet(titled, title=title, categories=legend))
    return True


def _shares(data: LabelledImages, vocabulary: Vocabulary) -> NDArray[np.float32]:
    """The part of each image's pixels that each category has (images × categories), crowd left out."""
    index_of, entries = vocabulary.index_of(), data.image_entries()
    shares = np.zeros((len(data), len(vocabulary)), np.float32)
    for number, entry in enumerate(entries):
        for segment in data.truth_segments(number):
            if not segment.iscrowd:
                shares[number, index_of[segment.category_id]] += segment.area / (entry["height"] * entry["width"])
    return shares


def _tiles(data: LabelledImages, chosen: Sequence[int], vocabulary: Vocabulary) -> Iterator[tuple[int, Picture]]:
    """Overlays by the places of their images; an image that cannot be read is left out, for the report names it."""
    for index in chosen:
        try:
            yield index, truth_overlay(data, index, vocabulary)
        except ConcatError:
            continue
