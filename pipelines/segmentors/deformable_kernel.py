"""Deformable attention on CUDA: one Triton kernel forwards, one backwards. Nothing is built at install.

Each program takes a block of queries of one head of one image. Sums are in fp32 whatever the inputs are; the gradient
of the values is gathered by atomic additions, so its last bits vary from run to run, as those of `grid_sample` do.
Measured on an H100 at 8 images of 1024², bf16: 0.6 ms forwards and 3.3 ms backwards, where the plain form takes 9.0 and
25.2 and torch.compile of it 11.3 and 23.9 (benchmarks/deformable_attention.py).
"""

import warnings
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

QUERIES = 32
"""Queries of a program."""
WARPS = 4


def runs_fused(value: Tensor) -> bool:
    """Whether the kernel can take values B×S×H×D: on a card and with a torch that can, heads a power of two wide."""
    width = value.shape[-1]
    fits = value.is_cuda and value.dtype != torch.float64 and width >= 8 and width & (width - 1) == 0
    return fits and _kernels(value.device) is not None


def fused_attention(value: Tensor, offsets: Tensor, logits: Tensor, centres: Tensor, table: Tensor) -> Tensor:
    """See `deformable_attention`; `centres` and `table` are the pyramid's."""
    attended: Tensor = _Fused.apply(value, offsets, logits, centres, table)
    return attended


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, offsets: Tensor, logits: Tensor, centres: Tensor, table: Tensor) -> Tensor:
        value, offsets, logits = value.contiguous(), offsets.contiguous(), logits.contiguous()
        batch, pixels, heads, width = value.shape
        attended = torch.empty(batch, pixels, heads * width, dtype=value.dtype, device=value.device)
        _launch("forward", value, offsets, logits, centres, table, attended)
        ctx.save_for_backward(value, offsets, logits, centres, table)
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        value, offsets, logits, centres, table = ctx.saved_tensors
        of_value, of_offsets = torch.zeros_like(value, dtype=torch.float32), torch.empty_like(offsets)
        of_logits = torch.empty_like(logits, dtype=torch.float32)
        given = (value, offsets, logits, centres, table, grad.contiguous())
        _launch("backward", *given, of_value, of_offsets, of_logits)
        return of_value.to(value.dtype), of_offsets, of_logits.to(logits.dtype), None, None


def _launch(name: str, value: Tensor, offsets: Tensor, *others: Tensor) -> None:
    kernels = _kernels(value.device)
    assert kernels is not None  # `runs_fused` was asked
    batch, pixels, heads, width = value.shape
    levels, points = offsets.shape[3], offsets.shape[4]
    shape = {"H": heads, "D": width, "L": levels, "P": points, "LP": 1 << (levels * points - 1).bit_length()}
    with torch.cuda.device_of(value):
        grid = (-(-pixels // QUERIES), batch * heads)
        getattr(kernels, name)[grid](value, offsets, *others, pixels, **shape, BLOCK=QUERIES, num_warps=WARPS)


@lru_cache
def _kernels(device: torch.device) -> SimpleNamespace | None:
    """The two kernels, unless this card or torch cannot run them, which is said once."""
    try:
        from pipelines.segmentors import deformable_triton as kernels

        kernels.try_out(device)
    except Exception as error:  # a missing compiler, driver or module: each has its own kind
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.warn(f"Deformable attention runs in its plain, slower form: {reason}", RuntimeWarning, stacklevel=2)
        return None
    return SimpleNamespace(forward=kernels.forward, backward=kernels.backward)
