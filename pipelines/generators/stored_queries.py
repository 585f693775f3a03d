"""The queries of a dump where they lie: read from its shards, all at once or the rows of a batch."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.base.errors import CorruptFileError
from pipelines.generators.dump_size import CHUNK

MEND: Final = "Delete it; the stage that wrote it makes it again."
_OPEN: Final = 64  # shards open at a time: COCO has 29 in one view


class StoredQueries:
    """The queries of all rows, n×K×D, on disk.

    Chunks are not compressed and bypass HDF5's cache, so a row is one read of its own 2·K·D bytes, not of its chunk.
    Random rows cost more all the same: a read each where a disk gives whole chunks in one.

    Args:
        paths: of the shards, in order.
        rows: of each shard.
        shape: K×D.
    """

    def __init__(self, paths: Sequence[Path], rows: Sequence[int], shape: tuple[int, ...]) -> None:
        self._paths, self._starts = list(paths), np.cumsum([0, *rows])
        self._open: OrderedDict[int, h5py.File] = OrderedDict()
        self.shape = (int(self._starts[-1]), *shape)

    @property
    def bytes(self) -> int:
        """What they take in memory."""
        return 2 * int(np.prod(self.shape))

    def __getitem__(self, rows: Tensor) -> Tensor:
        """The queries of some rows (one dimension, any order, repeats too), float16.

        Raises:
            CorruptFileError: a shard cannot be read any more.
        """
        read = np.empty((len(rows), *self.shape[1:]), np.float16)
        numbers = rows.numpy() % max(1, self.shape[0])  # −1 is the last row, as of a tensor
        for place in np.argsort(numbers, kind="stable"):
            shard = int(np.searchsorted(self._starts, numbers[place], side="right")) - 1
            with self._reading(shard) as queries:
                queries.read_direct(read, np.s_[numbers[place] - self._starts[shard]], np.s_[place])
        return torch.from_numpy(read)

    def read_all(self) -> Tensor:
        """All of them in memory, once; n×K×D, float16.

        Raises:
            CorruptFileError: as `check` does.
        """
        read = np.empty(self.shape, np.float16)
        for first, piece in self._pieces():
            read[first : first + len(piece)] = piece
        return torch.from_numpy(read)

    def check(self) -> None:
        """Reads all of them, a chunk at a time.

        Raises:
            CorruptFileError: a shard cannot be read, or a query is not finite.
        """
        for _ in self._pieces():
            pass

    def close(self) -> None:
        """Closes the shards; the next read opens its own again."""
        while self._open:
            self._open.popitem()[1].close()

    def _pieces(self) -> Iterator[tuple[int, NDArray[np.float16]]]:
        """The queries chunk after chunk, each with the row that it begins at."""
        for shard, path in enumerate(self._paths):
            begin, end = int(self._starts[shard]), int(self._starts[shard + 1])
            for first in range(0, end - begin, CHUNK):
                with self._reading(shard) as queries:
                    piece = queries[first : first + CHUNK].astype(np.float16, copy=False)
                if not np.isfinite(piece).all():
                    what = "This shard of queries is damaged: a query is not finite."
                    raise CorruptFileError(what, file=path, mend=MEND)
                yield begin + first, piece
        self.close()

    @contextmanager
    def _reading(self, shard: int) -> Iterator[Any]:
        """The data set of a shard, which is opened once as long as there are few."""
        try:
            if shard not in self._open:
                if len(self._open) == _OPEN:
                    self._open.popitem(last=False)[1].close()
                self._open[shard] = h5py.File(self._paths[shard], "r", rdcc_nbytes=0)
            self._open.move_to_end(shard)
            yield self._open[shard]["queries"]
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise CorruptFileError(f"Not a shard of queries: {error}", file=self._paths[shard], mend=MEND) from error
