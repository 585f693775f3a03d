"""Multi-scale deformable attention of a feature pyramid to itself (Deformable DETR, eq. 3), with little to remember.

Queries are the pixels of all levels, laid end to end; each looks at a few places around itself in every level. The
plain form is written with torch alone; on CUDA one kernel does the same (`deformable_kernel`). Both keep their inputs
alone for the backward pass and compute the rest again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import grid_sample

from pipelines.segmentors.deformable_kernel import fused_attention, runs_fused


@dataclass(frozen=True)
class Pyramid:
    """The levels of a pyramid, laid end to end: S = Σ h·w pixels.

    Attributes:
        shapes: (h, w) of each of the L levels.
        centres: S×2, the middle of each pixel, (x, y) in [0, 1].
        table: int32, L×3, h, w and first pixel of each level, for the kernel.
    """

    shapes: tuple[tuple[int, int], ...]
    centres: Tensor
    table: Tensor

    @classmethod
    def of(cls, shapes: Sequence[tuple[int, int]], device: torch.device) -> "Pyramid":
        """The pyramid of levels of these shapes."""
        centres, table, first = [], [], 0
        for height, width in shapes:
            y = (torch.arange(height, device=device) + 0.5) / height
            x = (torch.arange(width, device=device) + 0.5) / width
            centres.append(torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1).flatten(0, 1))
            table.append((height, width, first))
            first += height * width
        return cls(tuple(shapes), torch.cat(centres), torch.tensor(table, dtype=torch.int32, device=device))


def deformable_attention(value: Tensor, offsets: Tensor, logits: Tensor, pyramid: Pyramid) -> Tensor:
    """Σ_lp softmax(logits)_lp · value_l(own centre + offset_lp), sampled bilinearly, beyond the border 0.

    Args:
        value: B×S×H×D, H heads.
        offsets: B×S×H×L×P×2, (x, y) in pixels of the level that is sampled.
        logits: B×S×H×(L·P).
        pyramid: the levels.

    Returns:
        B×S×(H·D), of the dtype of `value`; sums are taken in fp32 at least.
    """
    if runs_fused(value):
        return fused_attention(value, offsets, logits, pyramid.centres, pyramid.table)
    attended: Tensor = _Recomputed.apply(value, offsets, logits, pyramid)
    return attended


def plain_attention(value: Tensor, offsets: Tensor, logits: Tensor, pyramid: Pyramid) -> Tensor:
    """`deformable_attention` in plain torch, which remembers whatever autograd wants; the reference."""
    batch, _, heads, width = value.shape
    exact = torch.promote_types(value.dtype, torch.float32)
    with torch.autocast(value.device.type, enabled=False):
        weights = logits.to(exact).softmax(-1).transpose(1, 2).flatten(0, 1)  # BH×S×LP
        points = weights.shape[-1] // len(pyramid.shapes)
        attended = None
        levels = value.to(exact).split([height * width for height, width in pyramid.shapes], dim=1)
        for level, (own, shape) in enumerate(zip(levels, pyramid.shapes, strict=True)):
            maps = own.permute(0, 2, 3, 1).reshape(batch * heads, width, *shape)
            size = torch.tensor([shape[1], shape[0]], dtype=exact, device=value.device)
            places = pyramid.centres[:, None, None] + offsets[:, :, :, level].to(exact) / size  # B×S×H×P×2
            grid = (2 * places - 1).transpose(1, 2).flatten(0, 1)  # BH×S×P×2
            sampled = grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            part = (sampled * weights[:, None, :, level * points : (level + 1) * points]).sum(-1)  # BH×D×S
            attended = part if attended is None else attended + part
    assert attended is not None  # a pyramid has a level
    return attended.view(batch, heads * width, -1).transpose(1, 2).to(value.dtype)


class _Recomputed(torch.autograd.Function):
    """The plain form; its backward pass runs the forward pass again."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, offsets: Tensor, logits: Tensor, pyramid: Pyramid) -> Tensor:
        ctx.save_for_backward(value, offsets, logits)
        ctx.pyramid = pyramid
        return plain_attention(value, offsets, logits, pyramid)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        value, offsets, logits = (saved.detach().requires_grad_() for saved in ctx.saved_tensors)
        with torch.enable_grad():
            again = plain_attention(value, offsets, logits, ctx.pyramid)
        return *torch.autograd.grad(again, (value, offsets, logits), grad), None
