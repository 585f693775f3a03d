"""Masks at the size of the picture."""

from typing import NamedTuple

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


def _bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(maps, size=size, mode="bilinear", align_corners=False)
