"""What a training step remembers for its backward pass, and what it computes again."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Remembering:
    """How layers are run.

    Attributes:
        checkpointing: remember what goes into a layer alone; a forward pass more of each.
        dropout: whether layers draw random numbers, which must then be the same again.
    """

    checkpointing: bool = False
    dropout: bool = False

    def layer(self, function: Callable[..., Tensor], *inputs: object) -> Tensor:
        """`function(*inputs)`, a whole layer."""
        return self._again(function, *inputs) if self.checkpointing else function(*inputs)

    def wide(self, function: Callable[..., Tensor], module: torch.nn.Module, given: Tensor, *others: object) -> Tensor:
        """`function(module, given, *others)`, a part that is cheap and remembers much; a card computes it again."""
        if given.is_cuda and not self.checkpointing:
            return self._again(function, module, given, *others)
        return function(module, given, *others)

    def _again(self, function: Callable[..., Tensor], *inputs: object) -> Tensor:
        if not torch.is_grad_enabled():
            return function(*inputs)
        made: Tensor = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=self.dropout)
        return made


def cast_once(values: Tensor) -> Tensor:
    """In autocast's precision, where it is on: else each layer that reads the values would keep a copy of its own."""
    kind = values.device.type
    return values.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else values
