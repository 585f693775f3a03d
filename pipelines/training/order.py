"""The order in which a training sees its data, from the step alone."""

import torch
from torch import Tensor

from pipelines.base.errors import ConcatError
from pipelines.base.seeding import derive_seed


class PermutationBatches:
    """The indices of every step's batch, each pass over the data in an order of its own.

    A pass leaves out the few indices that fill no batch, another few each time, so no batch holds an index twice unless
    there are fewer than `batch_size`.

    Args:
        length: number of items.
        batch_size: items a step.
        seed: of the orders.

    Raises:
        ConcatError: there is nothing to draw from.
    """

    def __init__(self, length: int, batch_size: int, seed: int) -> None:
        if length < 1:
            raise ConcatError("There is no image to draw batches from.")
        self._length, self._batch_size, self._seed = length, batch_size, seed
        self._drawn: tuple[int, Tensor] | None = None  # the pass at hand and its order

    def __call__(self, step: int) -> Tensor:
        """int64, `batch_size` indices below `length`; the step (from 0) alone decides, so resuming needs no state."""
        epoch, batch = divmod(step, max(1, self._length // self._batch_size))
        places = torch.arange(batch * self._batch_size, (batch + 1) * self._batch_size) % self._length
        return self._permutation(epoch)[places]

    def _permutation(self, epoch: int) -> Tensor:
        if self._drawn is None or self._drawn[0] != epoch:
            random = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
            self._drawn = epoch, torch.randperm(self._length, generator=random)
        return self._drawn[1]
