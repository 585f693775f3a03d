"""Random draws that derive from their purpose (a seed, a step, an image), never from an earlier or a worker's state."""

import hashlib
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from pipelines.base.errors import ConcatError


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2⁶³) from a run's seed and what the draws are for, the same on every machine.

    Parts of different types or borders differ: (1, 23), (12, 3) and ("1", 23) have three seeds.
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def permutation_batches(length: int, batch_size: int, seed: int) -> Callable[[int], Tensor]:
    """The indices of every step's batch, each pass over the data in an order of its own.

    A pass leaves out the few indices that fill no batch, another few each time, so no batch holds an index twice unless
    there are fewer than `batch_size`.

    Returns:
        step (from 0) → int64, `batch_size` indices below `length`; the step alone decides, so resuming needs no state.

    Raises:
        ConcatError: there is nothing to draw from.
    """
    if length < 1:
        raise ConcatError("There is no image to draw batches from.")
    batches = max(1, length // batch_size)

    @lru_cache(maxsize=1)
    def permutation(epoch: int) -> Tensor:
        return torch.randperm(length, generator=torch.Generator().manual_seed(derive_seed(seed, "order", epoch)))

    def indices_of(step: int) -> Tensor:
        epoch, batch = divmod(step, batches)
        return permutation(epoch)[torch.arange(batch * batch_size, (batch + 1) * batch_size) % length]

    return indices_of
