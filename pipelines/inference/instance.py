"""From class probabilities and mask logits to scored instances (method.md, "Inference").

Source: Cheng et al., "Masked-attention Mask Transformer", `instance_inference`: the best (query, category) pairs, each
scored by class probability × mean mask probability inside its mask.

Readings: the original takes the best pairs of all categories and then drops stuff; here things alone compete, so that a
vocabulary's stuff takes no place from them. Empty masks, which the original keeps with score 0, are dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from pipelines.inference.masks import Padding, resize_masks

MASK_THRESHOLD = 0.5
DRAWN_FROM = 0.3
"""Score from which an instance is drawn: of the hundred that are predicted most are guesses."""


class Rle(TypedDict):
    """A mask in COCO's compressed run-length encoding; size is height and width in px."""

    size: list[int]
    counts: str


@dataclass(frozen=True)
class PredictedInstance:
    """One instance of a prediction.

    Attributes:
        label: an index in the vocabulary at hand.
        score: class probability × mean mask probability inside the mask.
        rle: its mask, never empty.
        box: x, y, width and height of the mask in px.
    """

    label: int
    score: float
    rle: Rle
    box: tuple[float, float, float, float]


def instances(
    scores: Tensor,
    mask_logits: Tensor,
    size: tuple[int, int],
    isthing: Tensor,
    *,
    top: int = 100,
    padding: Padding | None = None,
) -> list[PredictedInstance]:
    """The instances of one image, by falling score.

    Args:
        scores: float, K×N, class probabilities of each query.
        mask_logits: float, K×h×w.
        size: height and width of the prediction in px.
        isthing: bool, N.
        top: how many (query, category) pairs at most, chosen by class probability.
        padding: what the masks cover, where that is more than the picture.
    """
    return instance_variants([scores], mask_logits, size, isthing, top=top, padding=padding)[0]


def instance_variants(
    variants: Sequence[Tensor],
    mask_logits: Tensor,
    size: tuple[int, int],
    isthing: Tensor,
    *,
    top: int = 100,
    padding: Padding | None = None,
) -> list[list[PredictedInstance]]:
    """`instances` for several class probabilities (each K×N) of the same masks, each resized and encoded once."""
    pairs = [_best_pairs(scores, isthing, top) for scores in variants]
    masks: dict[int, _Mask | None] = {}
    for query in sorted({pair.query for chosen in pairs for pair in chosen}):
        # One by one: a hundred masks of a large picture would not fit in memory.
        masks[query] = _encode(resize_masks(mask_logits[query, None], size, padding)[0])
    return [_instances(chosen, masks) for chosen in pairs]


class _Pair(NamedTuple):
    query: int
    label: int
    score: float


class _Mask(NamedTuple):
    rle: Rle
    box: tuple[float, float, float, float]
    quality: float


def _best_pairs(scores: Tensor, isthing: Tensor, top: int) -> list[_Pair]:
    """The best pairs of query and thing, by falling class probability; of equal ones the first queries and labels."""
    things = torch.nonzero(isthing)[:, 0]
    flat = scores.float()[:, things].flatten()  # K·T
    order = torch.argsort(flat, descending=True, stable=True)[:top]
    queries, labels = order // max(len(things), 1), things[order % max(len(things), 1)]
    return [_Pair(*pair) for pair in zip(queries.tolist(), labels.tolist(), flat[order].tolist(), strict=True)]


def _encode(mask_probs: Tensor) -> _Mask | None:
    """A mask from its probabilities (H×W) and their mean inside it; None if it is empty."""
    inside = mask_probs > MASK_THRESHOLD
    if not inside.any():
        return None
    rle = coco_mask.encode(np.asfortranarray(inside.cpu().numpy().view(np.uint8)))
    x, y, width, height = coco_mask.toBbox(rle).tolist()
    counts = rle["counts"].decode("ascii")
    quality = mask_probs[inside].double().mean().item()
    return _Mask({"size": list(inside.shape), "counts": counts}, (x, y, width, height), quality)


def _instances(pairs: Sequence[_Pair], masks: dict[int, _Mask | None]) -> list[PredictedInstance]:
    found = []
    for query, label, score in pairs:
        mask = masks[query]
        if mask is not None:
            found.append(PredictedInstance(label, score * mask.quality, mask.rle, mask.box))
    return sorted(found, key=lambda instance: -instance.score)  # stable
