"""From class probabilities and mask logits to a panoptic prediction, by Mask2Former's original rule.

Source: method.md, "Inference"; Cheng et al., "Masked-attention Mask Transformer", `panoptic_inference`. Libraries that
count segments anew when stuff is merged give two segments one id; here an id is given once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.inference.masks import Padding, resize_masks


class PaintedSegment(NamedTuple):
    """A segment of a prediction: `label` is an index in the vocabulary at hand, `area` in px."""

    id: int
    label: int
    score: float
    area: int


@dataclass(frozen=True)
class PanopticPrediction:
    """A panoptic prediction of one image.

    Attributes:
        ids: int32, H×W, the id of each pixel's segment; 0 is void.
        segments: one for each id other than 0, by falling score; merged stuff has the score of its best query.
    """

    ids: NDArray[np.int32]
    segments: list[PaintedSegment]


def panoptic(
    scores: Tensor,
    mask_logits: Tensor,
    size: tuple[int, int],
    isthing: Tensor,
    *,
    score_threshold: float,
    mask_threshold: float,
    overlap_threshold: float,
    padding: Padding | None = None,
) -> PanopticPrediction:
    """Predicts one image.

    Args:
        scores: float, K×N, class probabilities of each query.
        mask_logits: float, K×h×w.
        size: height and width of the prediction in px.
        isthing: bool, N.
        score_threshold: a query is kept when its best class probability exceeds this (0.1 in the paper).
        mask_threshold: a pixel lies in a mask from this probability on (0.5).
        overlap_threshold: part of its mask's area that a query must win against the others (0.8).
        padding: what the masks cover, where that is more than the picture.
    """
    return panoptic_variants(
        [scores],
        mask_logits,
        size,
        isthing,
        score_threshold=score_threshold,
        mask_threshold=mask_threshold,
        overlap_threshold=overlap_threshold,
        padding=padding,
    )[0]


@torch.no_grad()
def panoptic_variants(
    variants: Sequence[Tensor],
    mask_logits: Tensor,
    size: tuple[int, int],
    isthing: Tensor,
    *,
    score_threshold: float,
    mask_threshold: float,
    overlap_threshold: float,
    padding: Padding | None = None,
) -> list[PanopticPrediction]:
    """`panoptic` for several class probabilities (each K×N) of the same masks, which are resized once.

    Queries that no variant keeps are dropped before the resizing, which is most of the work.
    """
    best = [scores.max(dim=1) for scores in variants]
    kept = torch.stack([b.values > score_threshold for b in best]).any(dim=0)
    mask_probs = resize_masks(mask_logits[kept], size, padding)
    return [
        paint(
            b.values[kept],
            b.indices[kept],
            mask_probs,
            isthing,
            score_threshold=score_threshold,
            mask_threshold=mask_threshold,
            overlap_threshold=overlap_threshold,
        )
        for b in best
    ]


def paint(
    scores: Tensor,
    labels: Tensor,
    mask_probs: Tensor,
    isthing: Tensor,
    *,
    score_threshold: float,
    mask_threshold: float,
    overlap_threshold: float,
) -> PanopticPrediction:
    """Gives each pixel to the query with the largest score · mask probability and makes segments of the pixels won.

    Args:
        scores: float, K, the best class probability of each query.
        labels: int64, K, that class.
        mask_probs: float, K×H×W, as `resize_masks` makes them.
        isthing: bool, N.
        score_threshold: as in `panoptic`.
        mask_threshold: as in `panoptic`.
        overlap_threshold: as in `panoptic`.
    """
    kept = torch.nonzero(scores > score_threshold)[:, 0]
    kept = kept[torch.argsort(scores[kept], descending=True, stable=True)]  # so that the order of queries is forgotten
    n, size = len(kept), mask_probs.shape[1:]
    if n == 0:
        return PanopticPrediction(np.zeros(size, np.int32), [])
    scores, labels = scores[kept], labels[kept]

    weighted = mask_probs.new_empty((n, *size))
    for place, query in enumerate(kept.tolist()):  # without a copy of the masks that are kept
        torch.mul(mask_probs[query], scores[place], out=weighted[place])
    won = weighted.max(dim=0).indices.flatten()  # H·W, the place in `kept` that wins a pixel; argmax is slower on CPU
    owner = kept.index_select(0, won).view(1, *size)
    inside = mask_probs.gather(0, owner).flatten() >= mask_threshold  # whether that pixel lies in its mask
    code = torch.add(won, inside, alpha=n)  # below n: won outside the mask; from n on: won inside
    outside_areas, areas = torch.bincount(code, minlength=2 * n).view(2, n).tolist()
    mask_areas = [_area(mask_probs[query], mask_threshold) for query in kept.tolist()]

    stays = [
        area > 0 and (area + outside) / mask >= overlap_threshold
        for area, outside, mask in zip(areas, outside_areas, mask_areas, strict=True)
    ]
    ids, segments = _number(scores.tolist(), labels.tolist(), areas, stays, isthing.tolist())
    id_of = torch.tensor([0] * n + ids, dtype=torch.int32, device=code.device)
    return PanopticPrediction(id_of.index_select(0, code).view(size).cpu().numpy(), segments)


def _area(mask_probs: Tensor, threshold: float) -> int:
    """Pixels of a mask (H×W); numpy counts them four times as fast as torch on a CPU."""
    if mask_probs.device.type == "cpu":
        return int(np.count_nonzero(mask_probs.numpy() >= threshold))
    return int(torch.count_nonzero(mask_probs >= threshold))


def _number(
    scores: list[float], labels: list[int], areas: list[int], stays: list[bool], isthing: list[bool]
) -> tuple[list[int], list[PaintedSegment]]:
    """The segment id of each query (0 if it is dropped) and the segments; queries of one stuff category share one."""
    ids = [0] * len(scores)
    segments: list[PaintedSegment] = []
    stuff_ids: dict[int, int] = {}
    for query, (score, label, area) in enumerate(zip(scores, labels, areas, strict=True)):
        if not stays[query]:
            continue
        if label in stuff_ids:
            ids[query] = stuff_ids[label]
            first = segments[ids[query] - 1]
            segments[ids[query] - 1] = first._replace(area=first.area + area)
            continue
        ids[query] = len(segments) + 1
        segments.append(PaintedSegment(ids[query], label, score, area))
        if not isthing[label]:
            stuff_ids[label] = ids[query]
    return ids, segments
