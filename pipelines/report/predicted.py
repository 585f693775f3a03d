"""The predictions that eval left, read back in their official forms, beside the truth."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pipelines.base.errors import CorruptFileError
from pipelines.base.files import read_json
from pipelines.base.terms import Task
from pipelines.data.files.archives import read_bytes
from pipelines.data.formats.coco_panoptic import read_panoptic
from pipelines.data.formats.label_map import decode_label_map
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.panoptic_png import read_panoptic_png
from pipelines.draw.drawing import Drawing
from pipelines.metrics.semantic_iou import IGNORED
from pipelines.stages.judges.instance import DRAWN_FROM
from pipelines.stages.judges.judge import png_name

IndexMap = NDArray[np.int64]
Reader = Callable[[int], Drawing]
"""Index of a validation image → its prediction."""

_MEND: Final = "Evaluate again: `concat eval --force`."


def open_predictions(folder: Path, setting: str, task: Task, data: LabelledImages) -> Reader:
    """The predictions of a setting.

    Args:
        folder: of the results of eval.

    Raises:
        ConcatError: they are missing, or a file is when its image is asked for.
        CorruptFileError: they are damaged, or no predictions of these images.
    """
    if task == "semantic":
        return lambda index: _label_map(folder / setting / png_name(data.file_name(index)))
    path = folder / f"{setting}.json"
    if task == "instance":
        results, sizes = _results(path), {entry["id"]: entry for entry in data.image_entries()}
        return lambda index: _instances(results.get(data.image_ids[index], []), sizes[data.image_ids[index]], path)
    by_id = {annotation.image_id: annotation for _, annotation in read_panoptic(path).pairs()}
    if set(by_id) != set(data.image_ids):
        raise CorruptFileError("These are predictions of other images.", file=path, mend=_MEND)

    def panoptic(index: int) -> Drawing:
        annotation = by_id[data.image_ids[index]]
        ids = read_panoptic_png(folder / setting / annotation.file_name)
        return Drawing(ids, {segment.id: segment.category_id for segment in annotation.segments_info})

    return panoptic


def truth_of(data: LabelledImages, index: int) -> Drawing:
    """The truth of an image; crowd is left out, as it is not judged like other segments."""
    ids, segments = data.truth(index)
    return Drawing(ids, {segment.id: segment.category_id for segment in segments if not segment.iscrowd})


def category_map(drawing: Drawing, index_of: Mapping[int, int]) -> IndexMap:
    """The category index of every pixel (H×W), −1 where there is none."""
    values, place = np.unique(drawing.ids, return_inverse=True)
    found = [index_of.get(drawing.category_of.get(identity, -1), IGNORED) for identity in values.tolist()]
    return np.array(found, dtype=np.int64)[place].reshape(drawing.ids.shape)


def _label_map(path: Path) -> Drawing:
    """Every category of a label map is one segment, whose id is its value + 1."""
    values = decode_label_map(read_bytes(path), path)
    return Drawing(values + 1, {value + 1: value for value in np.unique(values).tolist()})


def _results(path: Path) -> dict[int, list[dict[str, Any]]]:
    """The well scored detections of a COCO results json by image, the best last."""
    found: dict[int, list[dict[str, Any]]] = {}
    try:
        for result in sorted(read_json(path, mend=_MEND), key=lambda result: float(result["score"])):
            if result["score"] >= DRAWN_FROM:
                found.setdefault(int(result["image_id"]), []).append(result)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"Not COCO's results: {error}.", file=path, mend=_MEND) from None
    return found


def _instances(results: list[dict[str, Any]], image: Mapping[str, Any], path: Path) -> Drawing:
    """Detections painted over one another, the best in front."""
    ids = np.zeros((image["height"], image["width"]), np.int32)
    try:
        for number, result in enumerate(results, start=1):
            ids[coco_mask.decode(result["segmentation"]) > 0] = number
        return Drawing(ids, {number: int(r["category_id"]) for number, r in enumerate(results, start=1)})
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CorruptFileError(f"Not COCO's results: {error}.", file=path, mend=_MEND) from None
