"""How many pixels of which category every label map holds, read once, on several cores, in a few bytes a map."""

import hashlib
import io
import json
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import atomic_path
from pipelines.base.parallel import in_processes
from pipelines.base.progress import Reporter
from pipelines.data.files.archives import Files, Folder
from pipelines.data.formats.label_map import decode_label_map
from pipelines.data.formats.label_map_pairs import Pairs
from pipelines.data.splits.split_result import Segments
from pipelines.vocabularies.vocabulary import Vocabulary

CHUNK: Final = 512
"""Label maps that are counted, and kept for an interrupted reading, together."""

_Names = Sequence[tuple[str, str]]


class MapCounts(msgspec.Struct, array_like=True, gc=False):
    """One label map: its size (px), the values it holds (ascending) and the pixels of each."""

    height: int
    width: int
    values: list[int]
    pixels: list[int]


class _Kept(msgspec.Struct):
    """The counts of a chunk, and the key of what they were counted from."""

    key: str
    maps: list[MapCounts]


@dataclass(frozen=True)
class LabelMapTotals:
    """What the label maps of a data set hold.

    Attributes:
        pairs: the images and label maps.
        heights: of each, px.
        widths: of each, px.
        segments: one for each category in an image, by image and then by category id; none is a crowd.
    """

    pairs: Pairs
    heights: list[int]
    widths: list[int]
    segments: Segments


def read_label_maps(
    labels: Files,
    images: Files,
    pairs: Pairs,
    *,
    vocabulary: Vocabulary,
    ignored: Collection[int],
    workers: int,
    progress: Reporter,
    resume: Path | None = None,
) -> LabelMapTotals:
    """Counts the pixels of each category in every label map; the result is the same for any number of workers.

    Args:
        labels: folder of the label maps.
        images: folder of the images, of which only the sizes are read.
        pairs: which of them belong together.
        vocabulary: its ids are pixel values.
        ignored: pixel values without a category (void, background); one that is in the vocabulary is a category.
        workers: number of processes.
        progress: hears of every map.
        resume: folder for the counts of finished chunks, from which an interrupted reading goes on; the caller removes
            it in the end.

    Raises:
        ConcatError: a pixel value is none of these, an image and its map differ in size, or a file is missing.
        CorruptFileError: a file is damaged or no label map.
    """
    index_of = vocabulary.index_of()
    heights: list[int] = []
    widths: list[int] = []
    row, category, area = array("q"), array("q"), array("q")
    with progress.task("read label maps", len(pairs.names)) as task:
        for maps in _counted(labels, images, pairs.names, workers, resume):
            for counts in maps:
                place = len(heights)
                _check_values(counts.values, index_of, ignored, labels.path / pairs.names[place][1], vocabulary.name)
                heights.append(counts.height)
                widths.append(counts.width)
                for value, pixels in zip(counts.values, counts.pixels, strict=True):
                    if value in index_of:
                        row.append(place)
                        category.append(index_of[value])
                        area.append(pixels)
            task.advance(len(maps))
    iscrowd = np.zeros(len(row), dtype=np.int64)
    segments = Segments(len(heights), np.asarray(row), np.asarray(category), np.asarray(area), iscrowd)
    return LabelMapTotals(pairs, heights, widths, segments)


def _check_values(
    values: Sequence[int], known: Collection[int], ignored: Collection[int], file: Path, vocabulary: str
) -> None:
    for value in values:
        if value not in known and value not in ignored:
            raise ConcatError(
                f"The label map holds the pixel value {value}, which is no category of the vocabulary {vocabulary}.",
                file=file,
                mend=f"Give the vocabulary of these label maps, or list {value} among the ignored pixel values "
                f"(--ignore, or --set data.ignored=[0,255,{value}]) if it marks pixels without a category.",
            )


def _counted(
    labels: Files, images: Files, names: _Names, workers: int, resume: Path | None
) -> Iterator[list[MapCounts]]:
    """The counts of all maps, chunk by chunk, in order; what an earlier reading kept is not read again."""
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    count = partial(_count_chunk, labels, images)
    workers = min(workers, len(chunks))
    if resume is None:
        yield from in_processes(count, chunks, workers=workers)
        return
    prints = (labels.fingerprint(), images.fingerprint())
    keys = [hashlib.sha256(json.dumps([*prints, chunk]).encode()).hexdigest() for chunk in chunks]
    kept = [resume / f"{number:05d}.json" for number in range(len(chunks))]
    done = [_read_kept(file, key) is not None for file, key in zip(kept, keys, strict=True)]
    todo = (chunk for chunk, is_done in zip(chunks, done, strict=True) if not is_done)
    fresh = in_processes(count, todo, workers=workers)
    for file, key, chunk, is_done in zip(kept, keys, chunks, done, strict=True):
        maps = (_read_kept(file, key) or count(chunk)) if is_done else next(fresh)
        if not is_done:
            with atomic_path(file) as part:
                part.write_bytes(msgspec.json.encode(_Kept(key, maps)))
        yield maps


def _read_kept(file: Path, key: str) -> list[MapCounts] | None:
    """The counts of a finished chunk; None if there are none, or they are damaged or of other files."""
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return kept.maps if kept.key == key else None


def _count_chunk(labels: Files, images: Files, names: _Names) -> list[MapCounts]:
    """Runs in a worker process."""
    return [_count(labels, images, image, label) for image, label in names]


def _count(labels: Files, images: Files, image: str, label: str) -> MapCounts:
    values = decode_label_map(labels.read(label, "Label map"), labels.path / label)
    height, width = values.shape
    if (found := _size(images, image)) != (width, height):
        raise ConcatError(
            f"The label map is {width}×{height} px, but its image {image} is {found[0]}×{found[1]} px.",
            file=labels.path / label,
            mend="Give label maps of the images' own size.",
        )
    pixels = _histogram(values)
    held = np.flatnonzero(pixels)
    return MapCounts(height, width, held.tolist(), pixels[held].tolist())


def _histogram(values: NDArray[np.int32]) -> NDArray[np.int64]:
    """The pixels of each value; PIL's way with bytes is 3 times as fast as bincount."""
    if values.max() > 255:
        return np.bincount(values.ravel())
    return np.asarray(Image.fromarray(values.astype(np.uint8)).histogram())


def _size(images: Files, name: str) -> tuple[int, int]:
    """Width and height of an image, from its header alone."""
    try:
        if isinstance(images, Folder):
            with Image.open(images.path / name) as image:
                return image.size
        with Image.open(io.BytesIO(images.read(name, "Image"))) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptFileError(
            f"Image not readable: {error}.", file=images.path / name, mend="Copy or unpack the file again."
        ) from None
