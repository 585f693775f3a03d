"""The training and validation lists of images with label maps, in the form of COCO's panoptic json.

An annotation's `file_name` is that of the label map, and each category in an image is one segment, whose id is the
pixel value + 1.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines.base.terms import Protocol
from pipelines.data.files.json_spans import write_spans
from pipelines.data.formats.coco_panoptic import Annotation, ImageInfo, SegmentInfo, category_entries
from pipelines.data.splits.label_map_counts import LabelMapTotals
from pipelines.data.splits.split_result import CategoryTotals, SplitResult, choose, summarise, totals
from pipelines.vocabularies.vocabulary import Vocabulary


def split_label_maps(
    counted: LabelMapTotals, out: Path, *, vocabulary: Vocabulary, protocol: Protocol = "zps"
) -> SplitResult:
    """Writes the training list of label maps to `out`, whose `categories` are the seen ones alone.

    zps: an image with one unseen pixel is dropped. zss: unseen categories are not listed. Either way an image without a
    seen pixel is left out.

    Args:
        counted: what the label maps hold.
        out: COCO-panoptic json, written atomically.
        vocabulary: the one that they were counted by, the unseen categories marked.
        protocol: what becomes of images with unseen pixels.

    Raises:
        ConcatError: no category is unseen, or no image is left.
    """
    pairs, segments = counted.pairs, counted.segments
    choice = choose(segments, vocabulary, protocol, file=pairs.file)
    _write(out, counted, vocabulary.seen, vocabulary, choice.keep, choice.listed)
    images = [image for image, _ in pairs.names]
    result = summarise(choice, segments, vocabulary, image_ids(images), images)
    return replace(result, unannotated=pairs.unannotated, orphaned=pairs.orphaned)


def list_label_maps(counted: LabelMapTotals, out: Path, *, vocabulary: Vocabulary) -> dict[int, CategoryTotals]:
    """Writes all images and all categories of `vocabulary` to `out`, for validation; returns category id → totals."""
    segments = counted.segments
    everything = (np.ones(count, dtype=bool) for count in (segments.images, len(segments.row)))
    _write(out, counted, vocabulary, vocabulary, *everything)
    return totals(segments, vocabulary)


def image_ids(names: list[str]) -> list[int]:
    """The numbers that images are named by (COCO's are), or, if they are not, running numbers from 1."""
    stems = [PurePosixPath(name).stem for name in names]
    if all(stem.isascii() and stem.isdecimal() and len(stem) <= 18 for stem in stems):
        ids = [int(stem) for stem in stems]
        if max(ids, default=0) < 2**31 and len(set(ids)) == len(ids):
            return ids
    return list(range(1, len(names) + 1))


def _write(
    out: Path,
    counted: LabelMapTotals,
    categories: Vocabulary,
    vocabulary: Vocabulary,
    keep: NDArray[np.bool_],
    listed: NDArray[np.bool_],
) -> None:
    """Writes the images to `keep` with the segments that are `listed`, whose categories go by `vocabulary`."""
    encode = msgspec.json.encode
    names, rows = counted.pairs.names, np.flatnonzero(keep).tolist()
    ids = image_ids([image for image, _ in names])

    def images() -> Iterator[bytes]:
        for row in rows:
            yield encode(ImageInfo(ids[row], names[row][0], counted.heights[row], counted.widths[row]))

    def annotations() -> Iterator[bytes]:
        segments = counted.segments
        category_ids = np.asarray(vocabulary.ids)[segments.category]
        starts = np.searchsorted(segments.row, np.arange(segments.images + 1))
        for row in rows:
            places = np.arange(starts[row], starts[row + 1])[listed[starts[row] : starts[row + 1]]]
            found = zip(category_ids[places].tolist(), segments.area[places].tolist(), strict=True)
            yield encode(Annotation(ids[row], names[row][1], [SegmentInfo(c + 1, c, area) for c, area in found]))

    entries = encode(category_entries(categories))
    write_spans(out, {"info": b"{}", "images": images(), "annotations": annotations(), "categories": entries})
