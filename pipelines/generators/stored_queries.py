"""The queries of a dump that is larger than memory: rows are read from its shards when a batch asks for them."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import torch
from torch import Tensor

from pipelines.base.errors import CorruptFileError

_OPEN: Final = 64  # files held open at once


class StoredQueries:
    """Looks like the tensor n×K×D, float16, as far as its shape and its rows are asked for.

    A row costs the reading of its chunk's part of the file, so random rows take some milliseconds each where the
    files are not in the machine's cache.

    Args:
        paths: the shards, in order.
        rows: of each shard.
        shape: (n, K, D).
    """

    def __init__(self, paths: Sequence[Path], rows: Sequence[int], shape: tuple[int, int, int]) -> None:
        self.paths, self.shape = list(paths), torch.Size(shape)
        self._first = np.cumsum([0, *rows])
        self._open = lru_cache(maxsize=_OPEN)(_opened)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Rows by their numbers (int64, B) → B×K×D, float16, in the order asked for."""
        wanted, place = np.unique(rows.numpy(), return_inverse=True)  # h5py reads rows in order and once
        shards = np.searchsorted(self._first, wanted, side="right") - 1
        parts = [self._read(int(shard), wanted[shards == shard] - self._first[shard]) for shard in np.unique(shards)]
        found = torch.from_numpy(np.concatenate(parts)) if parts else torch.zeros(0, *self.shape[1:]).half()
        return found[torch.from_numpy(place.reshape(-1))]

    def _read(self, shard: int, rows: Any) -> Any:
        path = self.paths[shard]
        try:
            return self._open(path)["queries"][rows].astype("f2", copy=False)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise CorruptFileError(
                f"This shard of queries was changed while it was read: {error}",
                file=path,
                mend="Delete it; the stage that wrote it makes it again.",
            ) from error


def _opened(path: Path) -> Any:
    return h5py.File(path, "r")
