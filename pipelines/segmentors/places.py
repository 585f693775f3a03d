"""Where the queries and the pixels of Mask2Former's levels stand: constants of a size of its input."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.models.mask2former.modeling_mask2former import Mask2FormerModel

from pipelines.segmentors.deformable_attention import Pyramid


@dataclass(frozen=True)
class Places:
    """Constants of the levels of one size.

    Attributes:
        pyramid: the levels as deformable attention reads them.
        sines: L × (1×hw×D), a sine of each pixel's place.
    """

    pyramid: Pyramid
    sines: tuple[Tensor, ...]


class PlacesOf(nn.Module):
    """The places of a size; those of the last one in training are kept, since training has but one."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: Places | None = None

    def forward(self, model: Mask2FormerModel, shapes: Sequence[tuple[int, int]], device: torch.device) -> Places:
        """The places of levels (h, w), coarsest first."""
        if self.kept is not None and self.kept.pyramid.shapes == tuple(shapes) and self.kept.sines[0].device == device:
            return self.kept
        width, embed = model.config.hidden_dim, model.transformer_module.position_embedder
        sines = (embed(torch.Size((1, width, *shape)), device, torch.float32) for shape in shapes)
        places = Places(Pyramid.of(shapes, device), tuple(own.flatten(2).transpose(1, 2) for own in sines))
        if self.training:
            self.kept = places
        return places
