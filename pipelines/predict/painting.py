"""From class probabilities and masks to the prediction of a task, at the size of the picture."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from torch import Tensor

from pipelines.base.terms import Task
from pipelines.inference.instance import DRAWN_FROM, PredictedInstance, Rle, instances
from pipelines.inference.masks import Padding
from pipelines.inference.panoptic import panoptic
from pipelines.inference.semantic import semantic_variants
from pipelines.predict.predictions import (
    Instance,
    InstanceResult,
    PanopticResult,
    Prediction,
    Segment,
    SemanticResult,
    boxes_of,
)
from pipelines.recipes.eval import EvalSettings
from pipelines.vocabularies.vocabulary import Vocabulary

Size = tuple[int, int]


@dataclass(frozen=True)
class Painting:
    """How a task is painted: the recipe's thresholds, and a least score in place of the usual one."""

    task: Task
    settings: EvalSettings
    threshold: float | None = None


def paint(
    painting: Painting,
    scores: Tensor,
    mask_logits: Tensor,
    padding: Padding,
    *,
    pixels: NDArray[np.uint8],
    vocabulary: Vocabulary,
    max_side: int | None = None,
) -> Prediction:
    """The prediction of one picture.

    Args:
        scores: float, K×N, class probabilities of each query.
        mask_logits: float, K×h×w.
        padding: what the masks cover.
        pixels: the picture, uint8, H×W×3.
        vocabulary: its N categories.
        max_side: longest side (px) at which masks are worked on; what is found is then enlarged to H×W.
    """
    full = (pixels.shape[0], pixels.shape[1])
    size, settings = _limited(full, max_side), painting.settings
    if painting.task == "semantic":
        indices = semantic_variants([scores], mask_logits, size, padding)[0]
        return _semantic(_enlarged(indices, full), pixels, vocabulary)
    isthing = torch.tensor([category.isthing for category in vocabulary.categories])
    if painting.task == "instance":
        found = instances(scores, mask_logits, size, isthing, top=settings.instances, padding=padding)
        return _instances(found, painting.threshold, full, pixels, vocabulary)
    painted = panoptic(
        scores,
        mask_logits,
        size,
        isthing,
        score_threshold=settings.score_threshold if painting.threshold is None else painting.threshold,
        mask_threshold=settings.mask_threshold,
        overlap_threshold=settings.overlap_threshold,
        padding=padding,
    )
    ids = _enlarged(painted.ids, full)
    boxes, areas = boxes_of(ids), np.bincount(ids.ravel()).tolist()
    segments = tuple(
        Segment(s.id, vocabulary.categories[s.label], s.score, areas[s.id], boxes[s.id]) for s in painted.segments
    )
    return PanopticResult(pixels, vocabulary, ids, segments)


def _semantic(indices: NDArray[np.int32], pixels: NDArray[np.uint8], vocabulary: Vocabulary) -> SemanticResult:
    boxes, areas = boxes_of(indices + 1), np.bincount(indices.ravel()).tolist()
    regions = [
        Segment(category.id, category, None, areas[index], boxes[index + 1])
        for index, category in enumerate(vocabulary.categories)
        if index + 1 in boxes
    ]
    labels = np.array(vocabulary.ids, np.int32)[indices]
    return SemanticResult(pixels, vocabulary, labels, tuple(sorted(regions, key=lambda region: -region.area)))


def _instances(
    found: list[PredictedInstance],
    threshold: float | None,
    size: Size,
    pixels: NDArray[np.uint8],
    vocabulary: Vocabulary,
) -> InstanceResult:
    kept = []
    for instance in found:
        if threshold is None or instance.score >= threshold:
            rle = _enlarged_rle(instance.rle, size)
            x, y, width, height = (int(side) for side in coco_mask.toBbox(rle).tolist())
            category, area = vocabulary.categories[instance.label], int(coco_mask.area(rle))
            kept.append(Instance(category, instance.score, rle, area, (x, y, width, height)))
    return InstanceResult(pixels, vocabulary, tuple(kept), DRAWN_FROM if threshold is None else threshold)


def _limited(size: Size, longest: int | None) -> Size:
    """Height and width, made smaller so that the longer of them is no longer than `longest`."""
    if longest is None or max(size) <= longest:
        return size
    height, width = (max(1, round(side * longest / max(size))) for side in size)
    return height, width


def _enlarged(values: NDArray[np.int32], size: Size) -> NDArray[np.int32]:
    if values.shape == size:
        return values
    return np.asarray(Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.NEAREST))


def _enlarged_rle(rle: Rle, size: Size) -> Rle:
    if tuple(rle["size"]) == size:
        return rle
    mask = _enlarged(coco_mask.decode(rle).astype(np.int32), size)
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(size), "counts": encoded["counts"].decode("ascii")}
