"""The query dump: what the frozen extractor says of every training image, as HDF5, so that no later stage opens one.

A shard `NNN.h5` holds, one row an image and view: `queries` (n, K, D) f16, `labels` (n, K) i16 (index in the names,
−1 = ∅), `segment_ids` (n, K) i64 (−1 where there is none), `image_ids` (n,) i64, `views` (n,) u8 (1: mirrored). Its
attributes hold the names and the number of rows of the whole dump.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import atomic_path, room_on_disk
from pipelines.generators.dump_size import CHUNK
from pipelines.generators.stored_queries import MEND, StoredQueries
from pipelines.vocabularies.vocabulary import check_names

_ARRAYS = {"queries": "f2", "labels": "i2", "segment_ids": "i8", "image_ids": "i8", "views": "u1"}
_EMPTY = -1
_GIB = 2**30


@dataclass(frozen=True)
class QueryRow:
    """The K queries of one image in one view.

    Attributes:
        queries: V, K×D. labels: K, index in the names, −1 = ∅. segment_ids: K, −1 where there is none.
        view: 0, or 1 for the mirrored image.
    """

    image_id: int
    queries: Tensor
    labels: Tensor
    segment_ids: Tensor
    view: int = 0


@dataclass(frozen=True)
class QueryBatch:
    """Queries of B images (an image in two views counts twice).

    Attributes:
        queries: V, B×K×D, float32. labels: B×K, int64, −1 = ∅. matched: B×K, bool.
        image_index: B×K, the image's place in the batch.
    """

    queries: Tensor
    labels: Tensor
    matched: Tensor
    image_index: Tensor

    def to(self, device: torch.device | str) -> "QueryBatch":
        """The batch on a device."""
        return QueryBatch(
            self.queries.to(device), self.labels.to(device), self.matched.to(device), self.image_index.to(device)
        )


@dataclass(frozen=True)
class QueryDump:
    """A whole dump; one row an image and view.

    Attributes:
        stored: n×K×D, float16, the queries: in memory or on disk. labels: n×K, int16. segment_ids: n×K. image_ids: n.
        views: n, uint8.
    """

    names: list[str]
    stored: Tensor | StoredQueries
    labels: Tensor
    segment_ids: Tensor
    image_ids: Tensor
    views: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def dim(self) -> int:
        """D."""
        return self.stored.shape[2]

    @property
    def queries(self) -> Tensor:
        """n×K×D, float16: all queries, in memory."""
        return self.stored if isinstance(self.stored, Tensor) else self.stored.read_all()

    @property
    def matched(self) -> Tensor:
        """n×K, bool: the queries V' that show a segment."""
        return self.labels != _EMPTY

    @property
    def unmatched(self) -> Tensor:
        """n×K, bool: V∅."""
        return self.labels == _EMPTY

    def batch(self, rows: Tensor | Sequence[int]) -> QueryBatch:
        """The queries of some rows."""
        rows = torch.as_tensor(rows, dtype=torch.int64)
        labels = self.labels[rows].long()
        image_index = torch.arange(len(rows))[:, None].expand_as(labels)
        return QueryBatch(self.stored[rows].float(), labels, labels != _EMPTY, image_index)


@dataclass(frozen=True)
class Shards:
    """The files of a dump: which rows stand in which, and which are still to be written, by whatever process.

    Attributes:
        folder: of the shards; what earlier, interrupted writers of the same dump left there is kept.
        shard: rows of a shard.
        names: of the categories that labels are indices of.
        rows: of the whole dump.
    """

    folder: Path
    shard: int
    names: tuple[str, ...]
    rows: int

    def rows_of(self, number: int) -> range:
        """The rows of a shard."""
        return range(number * self.shard, min((number + 1) * self.shard, self.rows))

    def missing(self) -> list[int]:
        """The shards still to be written; damaged ones, and those of another dump, are removed."""
        missing = [number for number in range(-(-self.rows // self.shard)) if not self._is_mine(number)]
        for path in self.folder.glob("*.h5"):
            number = int(path.stem) if path.stem.isdigit() else -1
            if number in missing or not 0 <= number * self.shard < self.rows:
                path.unlink()
        return missing

    def write(self, number: int, rows: Sequence[QueryRow]) -> None:
        """Writes a shard, at once.

        Raises:
            ConcatError: the disk is full, or a query does not fit float16.
            ValueError: a shard has another number of rows.
        """
        if len(rows) != len(self.rows_of(number)):
            raise ValueError(f"shard {number} has {len(self.rows_of(number))} rows, not {len(rows)}")
        _write_shard(self._path(number), rows, self.names, self.rows)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:03d}.h5"

    def _is_mine(self, number: int) -> bool:
        try:
            with h5py.File(self._path(number), "r") as file:
                sizes = {len(file[name]) for name in _ARRAYS}
                same = (_names(file), int(file.attrs["rows"])) == (list(self.names), self.rows)
                return same and sizes == {len(self.rows_of(number))}
        except (OSError, KeyError, ValueError):
            return False


def _write_shard(path: Path, rows: Sequence[QueryRow], names: Sequence[str], total: int) -> None:
    queries = torch.stack([row.queries for row in rows]).to("cpu", torch.float16)
    if not torch.isfinite(queries).all():
        bad = next(row for row, own in zip(rows, queries, strict=True) if not torch.isfinite(own).all())
        raise ConcatError(
            f"The queries of image {bad.image_id} do not fit float16 or are not finite.",
            file=path,
            mend="Train the extractor again.",
        )
    arrays = {
        "queries": queries,
        "labels": torch.stack([row.labels for row in rows]),
        "segment_ids": torch.stack([row.segment_ids for row in rows]),
        "image_ids": torch.tensor([row.image_id for row in rows]),
        "views": torch.tensor([row.view for row in rows]),
    }
    image = io.BytesIO()  # HDF5 prints tracebacks of its own when a disk is full, so it writes to memory
    with h5py.File(image, "w") as file:
        file.attrs["names"], file.attrs["rows"] = list(names), total
        for name, array in arrays.items():
            values = array.cpu().numpy().astype(_ARRAYS[name])
            file.create_dataset(name, data=values, chunks=(min(CHUNK, len(values)), *values.shape[1:]))
    with room_on_disk(path), atomic_path(path) as partial:
        partial.write_bytes(image.getbuffer())


def open_queries(folder: Path, names: Sequence[str], *, stage: str, memory: float = math.inf) -> QueryDump:
    """Opens a complete dump, every byte of which is read and checked.

    Args:
        folder: of the shards.
        names: the categories that its labels must be indices of.
        stage: who reads, for the error.
        memory: GiB that its queries may take; of a larger dump they stay on disk, and batches are the same.

    Raises:
        ConcatError: there is none, or it lacks a name.
        ProtocolError: it knows a name that `stage` must not know.
        CorruptFileError: a shard is missing, truncated or damaged.
    """
    paths = sorted(folder.glob("*.h5"))
    if not paths:
        raise ConcatError("Query dump not found.", file=folder, mend="Run dump-queries.")
    shards: list[_Shard] = []
    for number, path in enumerate(paths):
        if path.stem != f"{number:03d}":
            raise CorruptFileError(f"Shard {number:03d} of the query dump is missing.", file=folder, mend=MEND)
        shard = _read_shard(path)
        check_names(shard.names, names, file=path, stage=stage, mend="Run the stage that wrote it again.")
        _check_shard(path, shard, names=len(names), shape=(shards or [shard])[0].queries[1:])
        shards.append(shard)
    rows = [shard.queries[0] for shard in shards]
    if sum(rows) != shards[-1].rows:
        flaw = f"The query dump has {sum(rows)} of its {shards[-1].rows} rows."
        raise CorruptFileError(flaw, file=folder, mend=MEND)
    stored = StoredQueries(paths, rows, shards[0].queries[1:])
    arrays = {name: torch.cat([torch.from_numpy(shard.arrays[name]) for shard in shards]) for name in shards[0].arrays}
    if stored.bytes <= memory * _GIB:
        return QueryDump(names=list(names), stored=stored.read_all(), **arrays)
    stored.check()
    return QueryDump(names=list(names), stored=stored, **arrays)


@dataclass(frozen=True)
class _Shard:
    """A shard without its queries.

    Attributes:
        arrays: the small ones. queries: the shape of the queries. rows: of the whole dump.
    """

    arrays: dict[str, np.ndarray[Any, Any]]
    queries: tuple[int, ...]
    names: list[str]
    rows: int


def _read_shard(path: Path) -> _Shard:
    try:
        with h5py.File(path, "r") as file:
            small = {name: file[name][:].astype(_ARRAYS[name], copy=False) for name in _ARRAYS if name != "queries"}
            return _Shard(small, file["queries"].shape, _names(file), int(file.attrs["rows"]))
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise CorruptFileError(f"Not a shard of queries: {error}", file=path, mend=MEND) from error


def _names(file: Any) -> list[str]:
    return [str(name) for name in file.attrs["names"]]


def _check_shard(path: Path, shard: _Shard, *, names: int, shape: tuple[int, ...]) -> None:
    """Checks all but the queries themselves; `shape` is K×D."""
    labels = shard.arrays["labels"]
    flaw = ""
    if len(shard.queries) != 3 or shard.queries[1:] != shape:
        flaw = f"its queries are of shape {shard.queries}"
    elif (
        labels.shape != shard.queries[:2]
        or shard.arrays["segment_ids"].shape != labels.shape
        or any(shard.arrays[name].shape != labels.shape[:1] for name in ("image_ids", "views"))
    ):
        flaw = "its arrays differ in shape"
    elif labels.min(initial=_EMPTY) < _EMPTY or labels.max(initial=_EMPTY) >= names:
        flaw = "a label is no index of its names"
    if flaw:
        raise CorruptFileError(f"This shard of queries is damaged: {flaw}.", file=path, mend=MEND)
