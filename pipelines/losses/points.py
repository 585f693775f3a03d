"""The points at which masks are compared (PointRend, section 3.1; Mask2Former, section 3.3).

Coordinates are (x, y) in [0, 1] over the whole input, so prediction and target may differ in resolution. One step draws
one set of points for all images, queries and decoder layers: targets are then sampled once a step, and what an image
gets does not depend on its neighbours in the batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


def sample_points(maps: Tensor, coords: Tensor) -> Tensor:
    """Bilinear samples in fp32; a pixel's value stands at its centre, beyond the border is 0.

    Args:
        maps: B×C×H×W.
        coords: P×2, shared by the batch, or B×P×2.

    Returns:
        B×C×P.
    """
    grid = (2 * coords - 1).expand(len(maps), *coords.shape[-2:])  # B×P×2
    with torch.autocast(maps.device.type, enabled=False):
        sampled = grid_sample(maps.float(), grid[:, None], mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled[:, :, 0]  # B×C×1×P -> B×C×P


@torch.no_grad()
def read_points(maps: Tensor, coords: Tensor) -> Tensor:
    """`sample_points` at shared points without a gradient and without an fp32 copy of the maps, which may be bool.

    Args:
        maps: …×H×W.
        coords: P×2.

    Returns:
        fp32, …×P.
    """
    if maps.dtype == torch.float32:  # no copy is needed
        return sample_points(maps.reshape(1, -1, *maps.shape[-2:]), coords).view(*maps.shape[:-2], len(coords))
    height, width = maps.shape[-2:]
    x, y = (coords * coords.new_tensor([width, height]) - 0.5).unbind(-1)  # in pixels, from the first centre
    left, top = x.floor(), y.floor()
    flat = maps.reshape(-1, height * width)
    sampled = coords.new_zeros(len(flat), len(coords))
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        weight = (1 - (y - row).abs()) * (1 - (x - column).abs())
        weight = weight * ((row >= 0) & (row < height) & (column >= 0) & (column < width))
        index = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
        sampled += flat.index_select(1, index) * weight
    return sampled.view(*maps.shape[:-2], len(coords))


def sample_pixels(maps: Tensor, coords: Tensor) -> Tensor:
    """The value of the pixel each point lies in.

    Args:
        maps: B×H×W.
        coords: P×2.

    Returns:
        B×P, of the dtype of `maps`.
    """
    height, width = maps.shape[-2:]
    column = (coords[:, 0] * width).long().clamp(0, width - 1)
    row = (coords[:, 1] * height).long().clamp(0, height - 1)
    return maps[:, row, column]


def uniform_points(n: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Tensor:
    """`n` points, uniform in the unit square, n×2; drawn on the CPU, so that they derive from the generator alone."""
    return torch.rand(n, 2, generator=generator).to(device)


@dataclass(frozen=True)
class StepPoints:
    """All points of one optimisation step.

    Attributes:
        matching: P×2, where matching compares masks.
        pool: (Q+R)×2, Q candidates for the uncertain points of the loss, then R points that every pair uses.
        uncertain: U, how many of the Q candidates a pair uses; U + R = P.
    """

    matching: Tensor
    pool: Tensor
    uncertain: int

    @classmethod
    def draw(
        cls,
        n: int,
        *,
        oversample: float,
        importance: float,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> "StepPoints":
        """Draws the points of a step.

        Args:
            n: P, points a mask.
            oversample: candidates drawn for each of the P points, >= 1.
            importance: U / P, in [0, 1].
            generator: on the CPU.
            device: where the points go.
        """
        uncertain = int(importance * n)
        candidates = int(oversample * n) if uncertain else 0
        pool = candidates + n - uncertain
        return cls(uniform_points(n, generator, device), uniform_points(pool, generator, device), uncertain)

    def select(self, mask_logits: Tensor) -> Tensor:
        """Indices into `pool` of the points of each mask, int64, M×P: its U most uncertain candidates, then the others.

        **Reading:** PointRend draws candidates for each mask; here masks share them (see the head of this file).

        Args:
            mask_logits: M×h×w; the nearer to 0, the less certain.
        """
        if not self.uncertain:
            return torch.arange(len(self.pool), device=self.pool.device).expand(len(mask_logits), -1)
        candidates = len(self.pool) - (self.matching.shape[0] - self.uncertain)
        others = torch.arange(candidates, len(self.pool), device=self.pool.device).expand(len(mask_logits), -1)
        with torch.no_grad():
            certainty = read_points(mask_logits, self.pool[:candidates]).abs()  # M×Q
        chosen = certainty.topk(self.uncertain, dim=1, largest=False, sorted=False).indices
        return torch.cat([chosen, others], dim=1)
