"""The page of qualitative panels: image, ground truth, inductive, transductive."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipelines.data.dataset import PanopticFolder
from pipelines.data.panoptic_png import read_panoptic_png
from pipelines.files import read_json
from pipelines.overlay import Picture
from pipelines.panels import LabelledSegment, overlay, panel_page, save_png
from pipelines.vocabulary import Vocabulary


def write_panels(folder: Path, data: PanopticFolder, vocabulary: Vocabulary, count: int) -> None:
    """Writes `folder/panels.png`: `count` images with the predictions below `folder`."""
    predicted = {}
    for setting in ("inductive", "transductive"):
        content = read_json(folder / f"{setting}.json")
        predicted[setting] = {entry["image_id"]: entry for entry in content["annotations"]}
    rows = []
    for index in _chosen(data, vocabulary, count):
        sample = data.sample(index)
        image = sample.image.permute(1, 2, 0).numpy()
        columns = [("image", image), ("ground truth", truth_overlay(data, index, vocabulary))]
        for setting, entries in predicted.items():
            entry = entries[sample.image_id]
            ids = read_panoptic_png(folder / setting / entry["file_name"])
            segments = labelled(vocabulary, ((s["id"], s["category_id"]) for s in entry["segments_info"]))
            columns.append((setting, overlay(image, ids, segments)))
        rows.append((data.file_name(index), columns))
    save_png(folder / "panels.png", panel_page(rows))


def _chosen(data: PanopticFolder, vocabulary: Vocabulary, count: int) -> list[int]:
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


def truth_overlay(data: PanopticFolder, index: int, vocabulary: Vocabulary) -> Picture:
    """An image under its ground truth."""
    ids, segments = data.truth(index)
    image = data.sample(index).image.permute(1, 2, 0).numpy()
    return overlay(image, ids, labelled(vocabulary, ((s.id, s.category_id) for s in segments)))
