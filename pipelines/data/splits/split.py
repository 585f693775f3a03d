"""The training list of a COCO-panoptic json, without the images (ZPS) or the segments (ZSS) of unseen categories."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Raw

from pipelines.base.errors import ConcatError
from pipelines.base.terms import Protocol
from pipelines.data.files.file_names import check_name
from pipelines.data.files.json_spans import Spans, decode_each, read_images, read_spans, write_spans
from pipelines.data.formats.coco_panoptic import Area, CategoryId, Crowd, category_entries, check_ids, not_panoptic
from pipelines.data.splits.split_result import Choice, Segments, SplitResult, choose, summarise
from pipelines.vocabularies.vocabulary import Vocabulary


class _Segment(msgspec.Struct, gc=False):
    category_id: CategoryId
    area: Area = 0
    iscrowd: Crowd = 0


class _Annotation(msgspec.Struct, gc=False):
    image_id: int
    segments_info: list[_Segment]
    file_name: str


def split_panoptic(annotations: Path, out: Path, *, vocabulary: Vocabulary, protocol: Protocol = "zps") -> SplitResult:
    """Writes the training list of `annotations` to `out`, whose `categories` are the seen ones alone.

    zps: an image with one segment of an unseen category, crowd or not, is dropped. zss: unseen segments leave
    `segments_info`, so that their pixels are none of the list's, and an image is dropped if no seen segment but crowds
    is left. What stays as it was is copied byte for byte.

    Args:
        annotations: COCO-panoptic json, which may lie in a zip.
        out: COCO-panoptic json of the kept images, written atomically.
        vocabulary: all categories, the unseen ones marked.
        protocol: what becomes of images with unseen pixels.

    Raises:
        ConcatError: the file is missing, a segment's category is none of the vocabulary, no category is unseen, or no
            image is left.
        CorruptFileError: the json is damaged or inconsistent.
    """
    spans = read_spans(annotations, not_panoptic)
    images = read_images(spans, annotations, not_panoptic)
    image_ids, segments = _read_segments(spans.annotations, annotations, vocabulary)
    check_ids([image.id for image in images], image_ids, annotations)
    choice = choose(segments, vocabulary, protocol, file=annotations, keep_empty=protocol == "zps")
    kept_ids = {image_id for image_id, kept in zip(image_ids, choice.keep.tolist(), strict=True) if kept}
    kept_images = (raw for raw, image in zip(spans.images, images, strict=True) if image.id in kept_ids)
    _write(out, spans, kept_images, _listed(spans.annotations, segments, choice, annotations), vocabulary.seen)
    name_of = {image.id: image.file_name for image in images}
    result = summarise(choice, segments, vocabulary, image_ids, [name_of[image_id] for image_id in image_ids])
    return replace(result, unannotated=len(images) - len(image_ids))


def _read_segments(spans: Sequence[Raw], path: Path, vocabulary: Vocabulary) -> tuple[list[int], Segments]:
    """The image id of each annotation, and all segments."""
    image_ids: list[int] = []
    counts, category_ids, areas, crowds = array("q"), array("q"), array("q"), array("q")
    for annotation in decode_each(spans, _Annotation, path, "annotation", not_panoptic):
        check_name(annotation.file_name, path)
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
    return image_ids, Segments(len(image_ids), row, category, np.asarray(areas), np.asarray(crowds))


def _listed(spans: Sequence[Raw], segments: Segments, choice: Choice, path: Path) -> Iterator[bytes | Raw]:
    """The entries of the kept images; one that loses segments is put together anew from what it keeps."""
    ends = np.cumsum(np.bincount(segments.row, minlength=segments.images)).tolist()
    start = 0
    for span, kept, end in zip(spans, choice.keep.tolist(), ends, strict=True):
        if kept:
            listed = choice.listed[start:end]
            yield span if listed.all() else _with_segments(span, listed.tolist(), path)
        start = end


def _with_segments(span: Raw, listed: Sequence[bool], path: Path) -> bytes:
    try:
        fields = msgspec.json.decode(span, type=dict[str, Raw])
    except UnicodeDecodeError as error:  # in the name of a field that nothing reads
        raise not_panoptic(path, f"an annotation: {error}") from None
    given = msgspec.json.decode(fields["segments_info"], type=list[Raw])
    kept = [segment for segment, wanted in zip(given, listed, strict=True) if wanted]
    return msgspec.json.encode({**fields, "segments_info": kept})


def _write(
    out: Path, spans: Spans, images: Iterable[Raw], annotations: Iterable[bytes | Raw], seen: Vocabulary
) -> None:
    fields: dict[str, bytes | Raw | Iterable[bytes | Raw]] = {
        "info": spans.info,
        "licenses": spans.licenses,
        "images": images,
        "annotations": annotations,
        "categories": msgspec.json.encode(category_entries(seen)),
    }
    write_spans(out, fields)
