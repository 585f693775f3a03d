"""The training and validation lists of a COCO instances json (GZSI), whose entries are copied byte for byte."""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Raw, UnsetType
from numpy.typing import NDArray

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.remarks import Remarks
from pipelines.base.terms import Protocol
from pipelines.data.files.decode_json import decode_value
from pipelines.data.files.json_spans import ListedImage, Spans, decode_each, read_images, read_spans, write_spans
from pipelines.data.formats.coco_instances import draws_nothing
from pipelines.data.formats.coco_panoptic import CategoryId, Crowd, category_entries, check_ids
from pipelines.data.splits.split_result import CategoryTotals, Segments, SplitResult, choose, summarise, totals
from pipelines.vocabularies.vocabulary import Vocabulary


class _Instance(msgspec.Struct, gc=False):
    image_id: int
    category_id: CategoryId
    id: int | UnsetType = UNSET
    area: Annotated[float, Meta(ge=0, lt=2**53)] = 0
    iscrowd: Crowd = 0
    segmentation: Raw = Raw(b"")


class _Category(msgspec.Struct, gc=False):
    id: CategoryId


@dataclass(frozen=True)
class _Instances:
    """A json, and its instances column by column.

    Attributes:
        spans: the entries.
        images: id and name of each image; a segment's row is its place here.
        segments: the instances of the vocabulary.
        inside: which of all instances these are.
        annotated: which images have an instance, whatever its category.
        empty: which of the vocabulary's instances have no pixel. They are no objects: as crowds, they only count for
            the categories of their image.
        remarks: what these are.
    """

    spans: Spans
    images: list[ListedImage]
    segments: Segments
    inside: NDArray[np.bool_]
    annotated: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    remarks: tuple[str, ...]


def split_instances(annotations: Path, out: Path, *, vocabulary: Vocabulary, protocol: Protocol = "zps") -> SplitResult:
    """Writes the training list of `annotations` to `out`, whose `categories` are the seen ones alone.

    An image with one instance of an unseen category, crowd or not, is dropped. Instances of categories that are none of
    the vocabulary (48/17 has 65 of COCO's 80) are left out, and then images in which no instance but crowds is left.

    Args:
        annotations: COCO instances json, which may lie in a zip.
        out: COCO instances json, written atomically.
        vocabulary: all categories, the unseen ones marked.
        protocol: zps; zss is refused, for an instance that is not listed would be taught as background.

    Raises:
        ConcatError: the file is missing, the protocol is zss, no category is unseen, or no image is left.
        CorruptFileError: the json is damaged or inconsistent, or holds a category that it does not list.
    """
    if protocol == "zss":
        raise ConcatError(
            "Instances know no zss: the unseen ones would be taught as background.",
            mend="Use --protocol zps, which drops their images.",
        )
    read = _read(annotations, vocabulary)
    choice = choose(read.segments, vocabulary, protocol, file=annotations)
    listed = np.zeros(len(read.inside), dtype=bool)
    listed[read.inside] = choice.listed & ~read.empty
    _write(out, read.spans, choice.keep, listed, vocabulary.seen)
    ids, names = [image.id for image in read.images], [image.file_name for image in read.images]
    result = summarise(choice, read.segments, vocabulary, ids, names)
    unannotated = int(np.count_nonzero(~read.annotated))
    outside = int(np.count_nonzero(~read.inside))
    return replace(
        result, unannotated=unannotated, empty=result.empty - unannotated, outside=outside, remarks=read.remarks
    )


def list_instances(annotations: Path, out: Path, *, vocabulary: Vocabulary) -> dict[int, CategoryTotals]:
    """Writes all images and the instances of all categories of `vocabulary` to `out`, for validation.

    An image without instances stays, for what is found in it counts against the precision.

    Returns:
        Category id → totals.

    Raises:
        ConcatError: the file is missing.
        CorruptFileError: the json is damaged or inconsistent, or holds a category that it does not list.
    """
    read = _read(annotations, vocabulary)
    listed = read.inside.copy()
    listed[read.inside] = ~read.empty
    _write(out, read.spans, np.ones(len(read.images), dtype=bool), listed, vocabulary)
    return totals(read.segments, vocabulary)


def _read(path: Path, vocabulary: Vocabulary) -> _Instances:
    spans = read_spans(path, _not_instances)
    images = read_images(spans, path, _not_instances)
    check_ids([image.id for image in images], (), path)
    row_of = {image.id: row for row, image in enumerate(images)}
    rows, category_ids, areas, crowds, empty = array("q"), array("q"), array("d"), array("b"), array("b")
    remarks = Remarks()
    for instance in decode_each(spans.annotations, _Instance, path, "annotation", _not_instances):
        rows.append(_row(instance, row_of, path))
        category_ids.append(instance.category_id)
        areas.append(instance.area)
        empty.append(draws_nothing(instance.segmentation))
        crowds.append(instance.iscrowd or empty[-1])
        if empty[-1]:
            number = len(rows) - 1 if instance.id is UNSET else instance.id
            remarks.add_empty_instance(f"id {number} of image {instance.image_id}")
    row, ids = np.asarray(rows, dtype=np.int64), np.asarray(category_ids, dtype=np.int64)
    _check_categories(ids, spans, path)
    inside = np.isin(ids, np.asarray(vocabulary.ids))
    index_of = vocabulary.index_of()
    category = np.asarray([index_of[i] for i in ids[inside].tolist()], dtype=np.int64)
    nothing = np.asarray(empty, dtype=bool)[inside]
    area = np.where(nothing, 0, np.rint(np.asarray(areas)[inside])).astype(np.int64)
    segments = Segments(len(images), row[inside], category, area, np.asarray(crowds, dtype=np.int64)[inside])
    annotated = np.zeros(len(images), dtype=bool)
    annotated[row] = True
    return _Instances(spans, images, segments, inside, annotated, nothing, remarks.sentences())


def _row(instance: _Instance, row_of: Mapping[int, int], path: Path) -> int:
    if instance.image_id not in row_of:
        raise CorruptFileError(f"The image {instance.image_id} is annotated but not listed.", file=path)
    return row_of[instance.image_id]


def _check_categories(found: NDArray[np.int64], spans: Spans, path: Path) -> None:
    """Refuses instances of categories that the json itself does not list."""
    try:
        listed = [category.id for category in decode_value(spans.categories, list[_Category])]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_instances(path, f"categories: {error}") from None
    unknown = np.setdiff1d(found, np.asarray(listed, dtype=np.int64))
    if unknown.size:
        raise CorruptFileError(
            f"An instance has category {unknown[0]}, which the json's own categories do not list.",
            file=path,
            mend="Use the json as published, or list the category.",
        )


def _not_instances(path: Path, what: str) -> CorruptFileError:
    mend = "Give COCO's instances json (instances_train2017.json), not the one of panoptic segments or captions."
    return CorruptFileError(f"Not a COCO instances json: {what}.", file=path, mend=mend)


def _write(out: Path, spans: Spans, keep: NDArray[np.bool_], listed: NDArray[np.bool_], vocabulary: Vocabulary) -> None:
    """Writes the images to `keep` and the annotations that are `listed`, in the order of the json."""
    fields: dict[str, Raw | bytes | Iterator[Raw]] = {
        "info": spans.info,
        "licenses": spans.licenses,
        "images": (span for span, wanted in zip(spans.images, keep.tolist(), strict=True) if wanted),
        "annotations": (span for span, wanted in zip(spans.annotations, listed.tolist(), strict=True) if wanted),
        "categories": msgspec.json.encode(category_entries(vocabulary)),
    }
    write_spans(out, fields)
