"""Masks at the size of the picture."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate


class Padding(NamedTuple):
    """A network input (height, width) in px, of which only the upper left `content` (height, width) is picture."""

    input: tuple[int, int]
    content: tuple[int, int]


def resize_masks(mask_logits: Tensor, size: tuple[int, int], padding: Padding | None = None) -> Tensor:
    """Mask probabilities (K×H×W) at the picture's size from logits (K×h×w), resized bilinearly.

    With padding, logits go to the input's size, are cut to its content and then go to `size`, as Mask2Former does.
    """
    logits = mask_logits.float()[:, None]  # K×1×h×w
    if padding is not None:
        height, width = padding.content
        logits = _bilinear(logits, padding.input)[..., :height, :width]
    return _bilinear(logits, size)[:, 0].sigmoid()


def resize_rows(
    mask_logits: Tensor, size: tuple[int, int], padding: Padding | None, *, top: int, bottom: int
) -> Tensor:
    """Rows `top` to `bottom` (exclusive) of what `resize_masks` makes, K×(bottom−top)×W, without making the others."""
    logits = mask_logits.float()
    if padding is None:
        return _strip(logits, logits.shape[1], 0, size, top, bottom).sigmoid()
    height, width = padding.content
    lower, upper, _ = _sources(height, size[0], top, bottom)
    first, last = int(lower[0]), int(upper[-1]) + 1
    content = _strip(logits, logits.shape[1], 0, padding.input, first, last)[..., :width]
    return _strip(content, height, first, size, top, bottom).sigmoid()


def _strip(maps: Tensor, height: int, first: int, size: tuple[int, int], top: int, bottom: int) -> Tensor:
    """Rows of maps resized to `size`, where `maps` holds the rows from `first` on of maps `height` px high."""
    lower, upper, weight = _sources(height, size[0], top, bottom)
    above, below = maps[:, (lower - first).to(maps.device)], maps[:, (upper - first).to(maps.device)]
    rows = torch.lerp(above, below, weight[:, None].to(maps.device))  # K×(bottom−top)×w
    return _bilinear(rows[:, None], (bottom - top, size[1]))[:, 0]


def _sources(source: int, target: int, top: int, bottom: int) -> tuple[Tensor, Tensor, Tensor]:
    """The rows above and below each target row's centre and the weight of the latter, as `interpolate` has them."""
    positions = ((torch.arange(top, bottom) + 0.5) * (source / target) - 0.5).clamp(min=0)
    lower = positions.long().clamp(max=source - 1)
    return lower, (lower + 1).clamp(max=source - 1), positions - lower


def _bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(maps, size=size, mode="bilinear", align_corners=False)
