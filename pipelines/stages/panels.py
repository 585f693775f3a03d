"""The page of qualitative panels: image, ground truth, inductive, transductive."""

from pathlib import Path

import numpy as np

from pipelines.data.dataset import PanopticFolder
from pipelines.data.panoptic_png import read_panoptic_png
from pipelines.files import read_json
from pipelines.panels import LabelledSegment, overlay, panel_page, save_png
from pipelines.vocabulary import Vocabulary


def write_panels(folder: Path, data: PanopticFolder, vocabulary: Vocabulary, count: int) -> None:
    """Writes `folder/panels.png` from the predictions below `folder`: `count` images, spread over those with unseen categories."""
    predicted = {}
    for setting in ("inductive", "transductive"):
        content = read_json(folder / f"{setting}.json")
        predicted[setting] = {entry["image_id"]: entry for entry in content["annotations"]}
    index_of = vocabulary.index_of()
    rows = []
    for index in _chosen(data, vocabulary, count):
        sample = data.sample(index)
        image = sample.image.permute(1, 2, 0).numpy()
        truth_ids, truth_segments = data.truth(index)
        columns = [("image", image), ("ground truth", overlay(image, truth_ids, [
            _labelled(s.id, vocabulary, index_of[s.category_id]) for s in truth_segments]))]
        for setting, entries in predicted.items():
            entry = entries[sample.image_id]
            ids = read_panoptic_png(folder / setting / entry["file_name"])
            columns.append((setting, overlay(image, ids, [
                _labelled(s["id"], vocabulary, index_of[s["category_id"]]) for s in entry["segments_info"]])))
        rows.append((data.file_name(index), columns))
    save_png(folder / "panels.png", panel_page(rows))


def _chosen(data: PanopticFolder, vocabulary: Vocabulary, count: int) -> list[int]:
    """Evenly spread over the images with unseen segments, so that the choice favours no prediction."""
    unseen = set(vocabulary.unseen.ids)
    with_unseen = [i for i in range(len(data)) if any(s.category_id in unseen for s in data.truth_segments(i))]
    pool = with_unseen if len(with_unseen) >= count else list(range(len(data)))
    return [pool[i] for i in np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).astype(int))]


def _labelled(identity: int, vocabulary: Vocabulary, index: int) -> LabelledSegment:
    category = vocabulary.categories[index]
    return LabelledSegment(id=identity, name=category.name, color=category.color, unseen=category.unseen,
                           isthing=category.isthing)
