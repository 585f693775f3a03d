"""Flips and quarter turns: micrococo's forms have no upright, so all eight ways show the same categories."""

import torch
from torch import Tensor

WAYS = 8


def turned(images: Tensor, start: int) -> Tensor:
    """(n, S, S, C): the batch in eight parts, each flipped and turned in another way, the first in way `start`."""
    parts = []
    for k, part in enumerate(images.tensor_split(WAYS)):
        way = (start + k) % WAYS
        rotated = torch.rot90(part, way % 4, (1, 2))
        parts.append(rotated.flip(2) if way >= 4 else rotated)
    return torch.cat(parts)
