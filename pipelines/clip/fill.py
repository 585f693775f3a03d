"""Fills the store of CLS tokens: complete and masked images through CLIP, resumable at the image where it stopped."""

import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import zarr
from numpy.typing import NDArray
from torch import Tensor

from pipelines.base.disk import bytes_below, check_room
from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import remove, replace_folder, room_on_disk
from pipelines.base.parallel import in_processes
from pipelines.base.progress import Reporter, Task
from pipelines.clip.encoder import ClipModel
from pipelines.clip.pictures import Pictures, Samples, Wanted, batched
from pipelines.clip.settings import ClipSettings
from pipelines.clip.store import SUFFIXES, open_store
from pipelines.clip.store_size import CHUNK, store_bytes
from pipelines.training.processes import Processes

_VERSION = 1


class ListedSegment(Protocol):
    """A segment as the json lists it."""

    @property
    def id(self) -> int:
        """Its id in the panoptic PNG."""

    @property
    def iscrowd(self) -> bool:
        """Whether it is a crowd, which gets no token."""


class SegmentedImages(Samples, Protocol):
    """A data set: ids and segments are known from its json, pixels are read one image at a time.

    It can be pickled where other processes are to read.
    """

    @property
    def image_ids(self) -> list[int]:
        """Ids of the images, in order."""

    def truth_segments(self, index: int) -> Sequence[ListedSegment]:
        """All segments of an image, crowd included."""


@dataclass(frozen=True)
class _Rows:
    """What lies where: segment rows of image i are `offsets[i]` to `offsets[i + 1]`."""

    image_ids: NDArray[np.int64]
    segment_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, images: SegmentedImages) -> "_Rows":
        segments = [[s.id for s in images.truth_segments(i) if not s.iscrowd] for i in range(len(images.image_ids))]
        return cls(
            np.array(images.image_ids, np.int64),
            np.array([s for ids in segments for s in ids], np.int64),
            np.cumsum([0, *(len(ids) for ids in segments)], dtype=np.int64),
        )

    def wanted(self, index: int) -> Wanted:
        """What pictures are to be made of an image."""
        return Wanted(index, self.segment_ids[self.offsets[index] : self.offsets[index + 1]].tolist())


def fill_store(
    folder: Path,
    images: SegmentedImages,
    clip: ClipModel,
    settings: ClipSettings,
    reporter: Reporter,
    *,
    content: str,
    workers: int = 0,
    processes: Processes | None = None,
) -> Path:
    """Makes the store of CLS tokens unless it is there; a damaged one is made anew.

    Args:
        folder: the folder of CLIP stores.
        images: what is encoded.
        clip: the encoder.
        settings: how segments are masked, which views, how many images a forward pass.
        reporter: shows progress.
        content: identity of the image and label files (a hash of names, sizes and times), since ids alone do not tell
            two data sets apart.
        workers: processes that read and mask images while this one encodes; 0: none, this one does both. The store is
            the same.
        processes: those that encode groups of images in turn; the first one writes.

    Returns:
        the store's path.

    Raises:
        ConcatError: another process fills it, it does not fit on the disk, CLIP gave a token that is not finite, or a
            worker was killed; or an image cannot be read.
    """
    rows, processes = _Rows.of(images), processes or Processes()
    path = _store_path(folder, rows, clip, settings, content)
    filling = _Filling(rows, images, clip, settings, reporter, workers, processes)
    if not processes.first:
        filling.encode(None)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(path), room_on_disk(path):
        if path.exists():
            try:
                open_store(path)
                filling.nothing_to_do()
                return path
            except CorruptFileError as error:
                reporter.say(f"{error.message} It is made again: {path}")
        partial = path.with_name(f"{path.stem}.partial")
        _check_room(partial, rows, clip.dim, settings)
        store = _resumed(partial, rows, clip.dim, settings) or _created(partial, rows, clip.dim, settings)
        filling.encode(store)
        for left_over in partial.rglob("*.partial"):  # of a write that was killed
            left_over.unlink()
        replace_folder(partial, path)
    return path


def _store_path(folder: Path, rows: _Rows, clip: ClipModel, settings: ClipSettings, content: str) -> Path:
    listed = hashlib.sha256(b"".join(part.tobytes() for part in (rows.image_ids, rows.segment_ids, rows.offsets)))
    key = [
        _VERSION,
        clip.fingerprint,
        clip.precision,
        settings.masked,
        settings.fill,
        settings.flipped_view,
        listed.hexdigest(),
        content,
    ]
    return folder / f"images-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.zarr"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps two runs that share a cache from filling one store together; the lock goes with its process."""
    with open(path.with_name(f".{path.stem}.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConcatError(
                "Another process is filling this store.", file=path, mend="Wait until it is done."
            ) from None
        yield


def _check_room(partial: Path, rows: _Rows, dim: int, settings: ClipSettings) -> None:
    """Refuses a store that does not fit; what an interrupted fill left is there already, or makes room."""
    views = len(_suffixes(settings))
    total = store_bytes(len(rows.image_ids), len(rows.segment_ids), dim=dim, views=views)
    check_room(partial.parent, total - bytes_below(partial), "The store of CLIP tokens")


# --- layout ----------------------------------------------------------------------------------------------------------


def _layout(rows: _Rows, dim: int, settings: ClipSettings) -> dict[str, tuple[tuple[int, ...], str, Any]]:
    """Array → shape, type, fill value; a missing chunk reads as the fill value, so this is one that cannot be data."""
    n, m, nan = len(rows.image_ids), len(rows.segment_ids), float("nan")
    layout: dict[str, tuple[tuple[int, ...], str, Any]] = {
        "image/ids": ((n,), "int64", -1),
        "segment/ids": ((m,), "int64", -1),
        "segment/offsets": ((n + 1,), "int64", -1),
        "done": ((n,), "bool", False),
    }
    for suffix in _suffixes(settings):
        layout |= {
            f"image/tokens{suffix}": ((n, dim), "float16", nan),
            f"segment/tokens{suffix}": ((m, dim), "float16", nan),
        }
    return layout


def _suffixes(settings: ClipSettings) -> tuple[str, ...]:
    return SUFFIXES if settings.flipped_view else SUFFIXES[:1]


def _created(partial: Path, rows: _Rows, dim: int, settings: ClipSettings) -> zarr.Group:
    remove(partial)
    store = zarr.open_group(partial, mode="w", zarr_format=3, attributes={"views": len(_suffixes(settings))})
    for name, (shape, dtype, fill) in _layout(rows, dim, settings).items():
        chunks = (CHUNK, dim) if len(shape) == 2 else (max(1, shape[0]),)
        store.create_array(name, shape=shape, dtype=dtype, chunks=chunks, compressors=None, fill_value=fill)
    for name, values in _known(rows).items():
        store[name][:] = values
    return store


def _resumed(partial: Path, rows: _Rows, dim: int, settings: ClipSettings) -> zarr.Group | None:
    """What an interrupted fill left, if all of it is as it should be."""
    if not partial.is_dir():
        return None
    try:
        store = zarr.open_group(partial, mode="r+")
        fits = all(
            (store[name].shape, str(store[name].dtype)) == (shape, dtype)
            for name, (shape, dtype, _) in _layout(rows, dim, settings).items()
        )
        same = all(np.array_equal(store[name][:], values) for name, values in _known(rows).items())
        _ = store["done"][:]
    except Exception:  # however it is damaged, it is then made from the start
        return None
    return store if fits and same else None


def _known(rows: _Rows) -> dict[str, NDArray[np.int64]]:
    return {"image/ids": rows.image_ids, "segment/ids": rows.segment_ids, "segment/offsets": rows.offsets}


# --- filling ---------------------------------------------------------------------------------------------------------


def _missing(store: zarr.Group) -> list[range]:
    """The groups of images whose tokens are not all there."""
    done = np.asarray(store["done"][:])
    groups = (range(first, min(first + CHUNK, len(done))) for first in range(0, len(done), CHUNK))
    return [group for group in groups if not done[group.start : group.stop].all()]


def _pictures(images: SegmentedImages, clip: ClipModel, settings: ClipSettings) -> Pictures:
    fill = (0, 0, 0) if settings.fill == "black" else clip.mean_colour
    return Pictures(images, clip.geometry, settings.masked, fill, settings.flipped_view)


@dataclass(frozen=True)
class _Filling:
    """What every process does of a fill: encodes its turn of the groups, of which the first one writes all."""

    rows: _Rows
    images: SegmentedImages
    clip: ClipModel
    settings: ClipSettings
    reporter: Reporter
    workers: int
    processes: Processes

    def nothing_to_do(self) -> None:
        """Tells the other processes that the store is there."""
        self.processes.from_first([])

    def encode(self, store: zarr.Group | None) -> None:
        """Encodes group after group; `done` is set once the tokens of a group are in their files.

        Args:
            store: of the first process; the others have none.
        """
        missing = self.processes.from_first([] if store is None else _missing(store))
        own = self.processes.turns(missing)
        rounds = -(-len(missing) // self.processes.count)
        total = len(self.rows.image_ids)
        wanted = (self.rows.wanted(index) for group in own for index in group)
        make = _pictures(self.images, self.clip, self.settings)
        with (
            closing(in_processes(make, wanted, workers=self.workers, beside=True)) as pictures,
            self.reporter.task("CLIP tokens", total, done=total - sum(map(len, missing))) as task,
        ):
            for number in range(rounds):
                mine = self._tokens(own[number], pictures, task) if number < len(own) else None
                for made in self.processes.gather(mine):
                    if store is not None and made is not None:
                        group, tokens = made
                        _write_group(store, self.rows, group.start, group.stop, tokens)
                        store["done"][group.start : group.stop] = True

    def _tokens(self, group: range, pictures: Iterator[NDArray[np.uint8]], task: Task) -> tuple[range, Tensor]:
        own = islice(pictures, len(group))
        tokens = _encoded(_counted(own, task, self.processes.count), self.clip, self.settings.batch_size)
        if not torch.isfinite(tokens).all():
            ids = self.rows.image_ids
            raise ConcatError(
                f"CLIP gave a token that is not finite, between images {ids[group[0]]} and {ids[group[-1]]}.",
                mend="Set clip.precision=fp32.",
            )
        return group, tokens.half()


def _encoded(pictures: Iterable[NDArray[np.uint8]], clip: ClipModel, batch_size: int) -> Tensor:
    """Tokens (R×C, float32) of the pictures of a group, in their order.

    They are fetched from the device at the end, so that it computes while the next pictures are awaited.
    """
    return torch.cat([clip.encode_images(clip.normalised(batch)) for batch in batched(pictures, batch_size)]).cpu()


def _counted(pictures: Iterable[NDArray[np.uint8]], task: Task, step: int) -> Iterator[NDArray[np.uint8]]:
    for image in pictures:
        yield image
        task.advance(step)


def _write_group(store: zarr.Group, rows: _Rows, first: int, last: int, tokens: Tensor) -> None:
    """Sorts the tokens of images `first` to `last` into views, images and segments, and writes them."""
    views = int(store.attrs["views"])
    sizes = 1 + np.diff(rows.offsets[first : last + 1]).repeat(views)  # of one view of one image
    per_view = tokens.split(sizes.tolist())
    begin, end = int(rows.offsets[first]), int(rows.offsets[last])
    for view, suffix in enumerate(SUFFIXES[:views]):
        parts = per_view[view::views]
        store[f"image/tokens{suffix}"][first:last] = torch.stack([part[0] for part in parts]).numpy()
        if end > begin:
            store[f"segment/tokens{suffix}"][begin:end] = torch.cat([part[1:] for part in parts]).numpy()
