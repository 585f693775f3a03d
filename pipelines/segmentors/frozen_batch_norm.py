"""Batch norm with statistics and weights that stay as they were read (Detectron2's FrozenBN; mmdet's `norm_eval`)."""

import torch
from torch import Tensor, nn


class FrozenBatchNorm(nn.Module):
    """y = x·s + t of each channel, with s = weight / √(variance + ε) and t = bias − mean·s; nothing is learned.

    Only s and t are kept, C×1×1 each, and nothing of x is remembered.

    Args:
        norm: the layer whose weights and statistics are kept.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        assert norm.running_mean is not None  # timm's backbones track statistics and have weights
        assert norm.running_var is not None
        with torch.no_grad():
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            shift = norm.bias - norm.running_mean * scale
        self.register_buffer("scale", scale[:, None, None].clone())
        self.register_buffer("shift", shift[:, None, None].clone())
        # What timm's fused layers do after the norm.
        self.drop, self.act = getattr(norm, "drop", nn.Identity()), getattr(norm, "act", nn.Identity())

    def forward(self, maps: Tensor) -> Tensor:
        """B×C×H×W → the same shape and dtype."""
        normed: Tensor = self.act(self.drop(torch.addcmul(self.shift.to(maps.dtype), maps, self.scale.to(maps.dtype))))
        return normed


def freeze_batch_norms(module: nn.Module) -> None:
    """Puts a frozen layer in the place of every batch norm below `module`."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm(child))
        else:
            freeze_batch_norms(child)
