"""Bilinear resizing whose gradient is the same from run to run and quick on CUDA.

Where algorithms must be deterministic, torch's own resizing falls back on indexing on CUDA: four sorts of every pixel
for a backward pass. Bilinear resizing is a product with a matrix along each side, and products are deterministic.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def resize_bilinear(maps: Tensor, size: Sequence[int]) -> Tensor:
    """B×C×h×w → B×C×H×W, without antialiasing, corners not aligned."""
    if not maps.is_cuda:
        return interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
    rows = resize_matrix(maps.shape[-2], size[0], maps.device, maps.dtype)
    columns = resize_matrix(maps.shape[-1], size[1], maps.device, maps.dtype)
    return rows @ (maps @ columns.T)


@cache
def resize_matrix(n: int, m: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What makes m numbers of n, m×n: each row has at most two weights, which sum to 1."""
    places = ((torch.arange(m, device=device) + 0.5) * (n / m) - 0.5).clamp(0, n - 1)
    return (1 - (places[:, None] - torch.arange(n, device=device)).abs()).clamp(min=0).to(dtype)
