"""The seen-only training list: which images of a COCO-panoptic json hold no pixel of an unseen category (ZPS).

A full-size json (118,287 images, 1.3 million segments, 165 MB) is cut, not parsed: the entries of kept images are
copied byte for byte, and only ids, crowd flags and areas are decoded.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from pipelines.data.coco_panoptic import Area, CategoryId, category_entries, check_ids, decode_json, not_panoptic
from pipelines.errors import ConcatError
from pipelines.files import atomic_path
from pipelines.vocabulary import Vocabulary


@dataclass(frozen=True)
class DroppedImage:
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
class _Segments:
    """All segments, column by column; `row` is the position of a segment's annotation."""

    row: NDArray[np.int64]
    category: NDArray[np.int64]
    area: NDArray[np.int64]
    crowd: NDArray[np.bool_]


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
    image_ids, segments = _read_segments(spans.annotations, annotations)
    check_ids([image.id for image in images], image_ids, annotations)
    _check_categories(segments, image_ids, vocabulary, annotations)

    unseen = np.isin(segments.category, vocabulary.unseen.ids)
    keep = np.ones(len(image_ids), dtype=bool)
    keep[segments.row[unseen]] = False
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
    return SplitResult(
        kept=len(kept_ids),
        dropped=_dropped(segments, unseen, image_ids, {image.id: image.file_name for image in images}),
        unannotated=len(images) - len(image_ids),
        before=_totals(segments, np.ones_like(keep), vocabulary),
        after=_totals(segments, keep, vocabulary),
    )


def _each(spans: Sequence[Raw], kind: type[_T], path: Path, what: str) -> Iterator[_T]:
    """Decodes one entry after the other, so that only one is held as objects."""
    decoder = msgspec.json.Decoder(kind)
    for number, span in enumerate(spans):
        try:
            yield decoder.decode(span)
        except msgspec.DecodeError as error:
            raise not_panoptic(path, f"{what} number {number}: {error}") from None


def _read_segments(spans: Sequence[Raw], path: Path) -> tuple[list[int], _Segments]:
    """The image id of each annotation, and all segments."""
    image_ids: list[int] = []
    counts, category, area, crowd = array("q"), array("q"), array("q"), array("b")
    for annotation in _each(spans, _Annotation, path, "annotation"):
        image_ids.append(annotation.image_id)
        counts.append(len(annotation.segments_info))
        for segment in annotation.segments_info:
            category.append(segment.category_id)
            area.append(segment.area)
            crowd.append(segment.iscrowd != 0)
    row = np.repeat(np.arange(len(image_ids)), np.asarray(counts))
    return image_ids, _Segments(row, np.asarray(category), np.asarray(area), np.asarray(crowd).astype(bool))


def _check_categories(segments: _Segments, image_ids: Sequence[int], vocabulary: Vocabulary, path: Path) -> None:
    unknown = np.flatnonzero(~np.isin(segments.category, vocabulary.ids))
    if unknown.size:
        image_id, category_id = image_ids[segments.row[unknown[0]]], segments.category[unknown[0]]
        raise ConcatError(
            f"Image {image_id} holds category {category_id}, which is none of the vocabulary {vocabulary.name}.",
            file=path,
            mend="Give the vocabulary of this data set with --set data.vocabulary=FILE.",
        )


def _dropped(
    segments: _Segments, unseen: NDArray[np.bool_], image_ids: Sequence[int], names: Mapping[int, str]
) -> list[DroppedImage]:
    held: dict[int, set[int]] = {}
    for row, category_id in zip(segments.row[unseen].tolist(), segments.category[unseen].tolist(), strict=True):
        held.setdefault(image_ids[row], set()).add(category_id)
    return [DroppedImage(image_id, names[image_id], tuple(sorted(ids))) for image_id, ids in held.items()]


def _totals(segments: _Segments, chosen: NDArray[np.bool_], vocabulary: Vocabulary) -> dict[int, CategoryTotals]:
    """The totals over the annotations that are `chosen`."""
    ids = np.sort(np.asarray(vocabulary.ids))
    wanted = chosen[segments.row]
    row, area, crowd = segments.row[wanted], segments.area[wanted], segments.crowd[wanted]
    index = np.searchsorted(ids, segments.category[wanted])
    in_image = np.zeros((len(chosen), len(ids)), dtype=bool)
    in_image[row, index] = True
    columns = (
        in_image.sum(axis=0),
        np.bincount(index, minlength=len(ids)),
        np.bincount(index[crowd], minlength=len(ids)),
        np.bincount(index, weights=area, minlength=len(ids)).astype(np.int64),  # exact below 2⁵³ px
    )
    found = {i: CategoryTotals(*row) for i, row in zip(ids.tolist(), np.stack(columns, axis=1).tolist(), strict=True)}
    return {category_id: found[category_id] for category_id in vocabulary.ids}


def _write(out: Path, spans: _Spans, images: Sequence[Raw], annotations: Sequence[Raw], seen: Vocabulary) -> None:
    with atomic_path(out) as partial, open(partial, "wb") as file:
        file.writelines((b'{"info":', spans.info, b',"licenses":', spans.licenses))
        for name, entries in (("images", images), ("annotations", annotations)):
            file.write(f',"{name}":[\n'.encode())
            for number, entry in enumerate(entries):
                file.writelines((b",\n" if number else b"", entry))
            file.write(b"]")
        file.writelines((b',"categories":', msgspec.json.encode(category_entries(seen)), b"}\n"))
