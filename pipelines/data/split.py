"""The seen-only training list: which images of a COCO-panoptic json hold no pixel of an unseen category (ZPS).

A full-size json (118,287 images, 1.3 million segments, 165 MB) is cut, not parsed: the entries of kept images are
copied byte for byte, and only ids, crowd flags and areas are decoded.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from pipelines.data.coco_panoptic import Area, CategoryId, category_entries, check_ids, decode_json, not_panoptic
from pipelines.errors import ConcatError
from pipelines.files import atomic_path
from pipelines.vocabulary import Vocabulary


class DroppedImage(NamedTuple):
    """An image left out, and the ids of the unseen categories it holds."""

    image_id: int
    file_name: str
    category_ids: tuple[int, ...]


@dataclass(frozen=True)
class CategoryTotals:
    """How often a category occurs; `segments` counts crowd segments too, `pixels` sums the areas the json states."""

    images: int = 0
    segments: int = 0
    crowd_segments: int = 0
    pixels: int = 0


@dataclass(frozen=True)
class SplitResult:
    """What the split did.

    Attributes:
        kept: number of training images.
        dropped: images with unseen pixels, in the order of the annotations.
        unannotated: number of listed images without annotation, which are left out as well.
        before: category id → totals over the given json, for every category of the vocabulary.
        after: the same over the kept images.
    """

    kept: int
    dropped: list[DroppedImage]
    unannotated: int
    before: dict[int, CategoryTotals]
    after: dict[int, CategoryTotals]


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str


class _Segment(msgspec.Struct, gc=False):
    category_id: CategoryId
    area: Area = 0
    iscrowd: int = 0


class _Annotation(msgspec.Struct, gc=False):
    image_id: int
    segments_info: list[_Segment]


class _Spans(msgspec.Struct):
    """The json with its entries as undecoded bytes."""

    images: list[Raw]
    annotations: list[Raw]
    info: Raw = Raw(b"{}")
    licenses: Raw = Raw(b"[]")


_T = TypeVar("_T")


@dataclass(frozen=True)
class _Columns:
    """All segments, column by column; `row` is the place of the annotation, `category` that in the vocabulary."""

    row: NDArray[np.int64]
    category: NDArray[np.int64]
    area: NDArray[np.int64]
    iscrowd: NDArray[np.int64]


def split_panoptic(annotations: Path, out: Path, *, vocabulary: Vocabulary) -> SplitResult:
    """Writes the images of `annotations` without unseen pixels to `out`, whose `categories` are the seen ones alone.

    An image with one segment of an unseen category, crowd or not, is dropped.

    Args:
        annotations: COCO-panoptic json.
        out: COCO-panoptic json of the kept images, written atomically.
        vocabulary: all categories, the unseen ones marked.

    Raises:
        ConcatError: the file is missing, a segment's category is none of the vocabulary, no category is unseen, or no
            image is left.
        CorruptFileError: the json is damaged or inconsistent.
    """
    if not vocabulary.unseen.ids:
        raise ConcatError(
            f"The vocabulary {vocabulary.name} marks no category as unseen.",
            mend="Name unseen categories, for example --set 'data.unseen=[\"cow\"]'.",
        )
    spans = decode_json(annotations, _Spans)
    images = list(_each(spans.images, _Image, annotations, "image"))
    image_ids, segments = _read_segments(spans.annotations, annotations, vocabulary)
    check_ids([image.id for image in images], image_ids, annotations)
    held = np.zeros((len(image_ids), len(vocabulary)), dtype=bool)  # annotations × categories
    held[segments.row, segments.category] = True
    unseen = np.asarray([category.unseen for category in vocabulary.categories])
    keep: NDArray[np.bool_] = np.logical_not(held[:, unseen].any(axis=1))
    if not keep.any():
        raise ConcatError(
            f"No training image is left: {len(keep)} of {len(keep)} annotated images hold unseen pixels.",
            file=annotations,
            mend="Give a larger training set, or fewer unseen categories.",
        )
    kept_ids = {image_id for image_id, kept in zip(image_ids, keep, strict=True) if kept}
    kept_images = [raw for raw, image in zip(spans.images, images, strict=True) if image.id in kept_ids]
    kept_annotations = [raw for raw, kept in zip(spans.annotations, keep, strict=True) if kept]
    _write(out, spans, kept_images, kept_annotations, vocabulary.seen)
    file_names = {image.id: image.file_name for image in images}
    return SplitResult(
        kept=len(kept_ids),
        dropped=_dropped(held & unseen, vocabulary, image_ids, file_names),
        unannotated=len(images) - len(image_ids),
        before=_totals(segments, held, np.ones(len(keep), dtype=bool), vocabulary),
        after=_totals(segments, held, keep, vocabulary),
    )


def _each(spans: Sequence[Raw], kind: type[_T], path: Path, what: str) -> Iterator[_T]:
    """Decodes one entry after the other, so that only one is held as objects."""
    decoder = msgspec.json.Decoder(kind)
    for number, span in enumerate(spans):
        try:
            yield decoder.decode(span)
        except msgspec.DecodeError as error:
            raise not_panoptic(path, f"{what} number {number}: {error}") from None


def _read_segments(spans: Sequence[Raw], path: Path, vocabulary: Vocabulary) -> tuple[list[int], _Columns]:
    """The image id of each annotation, and all segments."""
    image_ids: list[int] = []
    counts, category_ids, areas, crowds = array("q"), array("q"), array("q"), array("q")
    for annotation in _each(spans, _Annotation, path, "annotation"):
        image_ids.append(annotation.image_id)
        counts.append(len(annotation.segments_info))
        for segment in annotation.segments_info:
            category_ids.append(segment.category_id)
            areas.append(segment.area)
            crowds.append(segment.iscrowd)
    row = np.repeat(np.arange(len(image_ids)), np.asarray(counts))
    ids, found = np.asarray(vocabulary.ids), np.asarray(category_ids)
    unknown = np.flatnonzero(~np.isin(found, ids))
    if unknown.size:
        raise ConcatError(
            f"Image {image_ids[row[unknown[0]]]} holds category {found[unknown[0]]}, which is none of the vocabulary "
            f"{vocabulary.name}.",
            file=path,
            mend="Give the vocabulary of this data set with --set data.vocabulary=FILE.",
        )
    order = np.argsort(ids)
    category = order[np.searchsorted(ids, found, sorter=order)]
    return image_ids, _Columns(row, category, np.asarray(areas), np.asarray(crowds))


def _dropped(
    held: NDArray[np.bool_], vocabulary: Vocabulary, image_ids: Sequence[int], file_names: Mapping[int, str]
) -> list[DroppedImage]:
    """The annotated images that hold a category of `vocabulary`, as `held` tells."""
    ids = np.asarray(vocabulary.ids)
    rows = np.flatnonzero(held.any(axis=1)).tolist()
    return [
        DroppedImage(image_ids[row], file_names[image_ids[row]], tuple(sorted(ids[held[row]].tolist()))) for row in rows
    ]


def _totals(
    segments: _Columns, held: NDArray[np.bool_], chosen: NDArray[np.bool_], vocabulary: Vocabulary
) -> dict[int, CategoryTotals]:
    """The totals over the annotations that are `chosen`, by category id."""
    wanted = chosen[segments.row]
    category, crowd, size = segments.category[wanted], segments.iscrowd[wanted] != 0, len(vocabulary)
    columns = (
        held[chosen].sum(axis=0),
        np.bincount(category, minlength=size),
        np.bincount(category[crowd], minlength=size),
        np.bincount(category, weights=segments.area[wanted], minlength=size).astype(np.int64),  # exact below 2⁵³ px
    )
    rows = np.stack(columns, axis=1).tolist()
    return {category_id: CategoryTotals(*row) for category_id, row in zip(vocabulary.ids, rows, strict=True)}


def _write(out: Path, spans: _Spans, images: Sequence[Raw], annotations: Sequence[Raw], seen: Vocabulary) -> None:
    with atomic_path(out) as partial, open(partial, "wb") as file:
        file.writelines((b'{"info":', spans.info, b',"licenses":', spans.licenses))
        for name, entries in (("images", images), ("annotations", annotations)):
            file.write(f',"{name}":[\n'.encode())
            for number, entry in enumerate(entries):
                file.writelines((b",\n" if number else b"", entry))
            file.write(b"]")
        file.writelines((b',"categories":', msgspec.json.encode(category_entries(seen)), b"}\n"))
