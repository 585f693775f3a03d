"""The order in which a training sees its data, from the step alone."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from pipelines.base.errors import ConcatError
from pipelines.base.seeding import derive_seed


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
