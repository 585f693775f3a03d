"""Dropout that costs nothing where there is none."""

from torch import Tensor
from torch.nn.functional import dropout


def dropped(values: Tensor, rate: float) -> Tensor:
    """Values, some of them dropped; at a rate of 0 no random number is drawn."""
    return dropout(values, rate) if rate else values
