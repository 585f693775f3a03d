"""What is wrong with a list of images as a whole, and the list of those that are left to look at one by one.

The readers refuse a list at the first thing that is wrong with it. Here all of it is named, and the rest of the list is
written to a list of its own.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import UNSET, Raw, UnsetType
from pydantic import ValidationError

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.data.checks.findings import FindingList
from pipelines.data.files.archives import Files
from pipelines.data.files.decode_json import decode_value
from pipelines.data.files.file_names import check_name
from pipelines.data.files.json_spans import Spans, decode_each, read_spans, write_spans
from pipelines.data.formats.coco_instances import draws_nothing
from pipelines.data.formats.coco_panoptic import CategoryId
from pipelines.vocabularies.vocabulary import Category, Vocabulary

JsonTask = Literal["panoptic", "instance"]
_OF_THE_WHOLE: Final = ("info", "licenses", "categories")


@dataclass(frozen=True)
class Survey:
    """A list looked at as a whole.

    Attributes:
        findings: what is wrong with it.
        listing: the images that can be looked at one by one, in the form of a split's list; None if there are none.
        names: file names of all its images, but such as lead out of their folder.
    """

    findings: FindingList
    listing: Path | None
    names: frozenset[str]


def evenly_spread(length: int, most: int) -> list[int]:
    """At most `most` indices below `length`, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(int)).tolist() if length else []


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str


class _Category(msgspec.Struct, gc=False):
    category_id: CategoryId


class _Entry(msgspec.Struct, gc=False):
    id: CategoryId
    name: str
    isthing: int = 1  # the instances json does not say
    color: tuple[int, int, int] = (128, 128, 128)


class _Panoptic(msgspec.Struct, gc=False):
    image_id: int
    file_name: str
    segments_info: list[_Category]


class _Instance(msgspec.Struct, gc=False):
    image_id: int
    category_id: CategoryId
    segmentation: Raw = Raw(b"")
    id: int | UnsetType = UNSET


def describe_json(annotations: Path) -> tuple[JsonTask, Vocabulary]:
    """Whether a json is COCO's panoptic or its instances one, told by its first annotation, and its own categories.

    Raises:
        ConcatError: the file is missing.
        CorruptFileError: it is neither, or its categories are none.
    """
    spans = read_spans(annotations, _neither)
    if not spans.annotations:
        raise _neither(annotations, "it holds no annotation")
    try:
        first = msgspec.json.decode(spans.annotations[0], type=dict[str, Raw])
        entries = decode_value(spans.categories, list[_Entry])
        categories = tuple(Category(id=e.id, name=e.name, isthing=e.isthing != 0, color=e.color) for e in entries)
        vocabulary = Vocabulary(name=annotations.stem, categories=categories)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _neither(annotations, str(error)) from None
    except ValidationError as error:
        raise _neither(annotations, f"its categories: {error.errors()[0]['msg']}") from None
    if "segments_info" in first:
        return "panoptic", vocabulary
    if "segmentation" in first:
        return "instance", vocabulary
    raise _neither(annotations, "an annotation has neither segments_info nor segmentation")


def survey_json(
    annotations: Path, task: JsonTask, vocabulary: Vocabulary, scratch: Path, *, labels: Files | None = None
) -> Survey:
    """Looks at a COCO json: repeated images, images without annotation and the reverse, unknown categories.

    Args:
        annotations: the json, which may lie in a zip.
        task: of which form it is.
        vocabulary: the categories that may occur. In a panoptic json an image with another one is wrong; instances of
            others are only counted if some are unseen, as GZSI splits do not use all of COCO's.
        scratch: the json of the rest, written only if something has to be left out.
        labels: where the PNGs of a panoptic json lie, each of which is looked up.

    Raises:
        ConcatError: the file is missing.
        CorruptFileError: it is no such json.
    """
    found, spans = FindingList(), read_spans(annotations, _neither)
    images = list(decode_each(spans.images, _Image, annotations, "image", _neither))
    usable = _usable_images(images, annotations, found)
    names = frozenset(images[place].file_name for place in usable.values())
    image_ids = {image.id for image in images}
    if task == "panoptic":
        present = None if labels is None else frozenset(labels.names())
        kept = _panoptic(spans, image_ids, usable, annotations, vocabulary, present, found)
    else:
        kept = _instances(spans, image_ids, usable, annotations, vocabulary, found)
    kept_images = [place for place, image in enumerate(images) if usable.get(image.id) == place]
    if not kept_images:
        return Survey(found, None, names)
    if len(kept_images) == len(images) and len(kept) == len(spans.annotations):
        return Survey(found, annotations, names)
    write_spans(
        scratch,
        {name: getattr(spans, name) for name in _OF_THE_WHOLE}
        | {
            "images": [spans.images[place] for place in kept_images],
            "annotations": [spans.annotations[place] for place in kept],
        },
    )
    return Survey(found, scratch, names)


def _usable_images(images: Sequence[_Image], annotations: Path, found: FindingList) -> dict[int, int]:
    """Image id → place in the list, for every image that can be looked at."""
    usable: dict[int, int] = {}
    for place, image in enumerate(images):
        if image.id in usable:
            found.add("repeated image", f"{image.file_name} (id {image.id})")
            continue
        try:
            check_name(image.file_name, annotations)
            usable[image.id] = place
        except ConcatError:
            found.add("unsafe name", repr(image.file_name))
    return usable


def _panoptic(
    spans: Spans,
    image_ids: Collection[int],
    usable: dict[int, int],
    annotations: Path,
    vocabulary: Vocabulary,
    present: Collection[str] | None,
    found: FindingList,
) -> list[int]:
    """The places of annotations that can be used; images that have none are taken out of `usable`."""
    known, unknown, places = set(vocabulary.ids), Counter[int](), dict[int, int]()
    refused: set[int] = set()
    for place, entry in enumerate(decode_each(spans.annotations, _Panoptic, annotations, "annotation", _neither)):
        others = {segment.category_id for segment in entry.segments_info} - known
        unknown.update(others)
        if entry.image_id not in image_ids:
            found.add("annotation without image", f"image id {entry.image_id} ({entry.file_name})")
        elif entry.image_id in places or entry.image_id in refused:
            found.add("repeated annotation", f"image id {entry.image_id} ({entry.file_name})")
        elif others or not _is_safe(entry.file_name, annotations, found):
            refused.add(entry.image_id)
        elif present is not None and PurePosixPath(entry.file_name).as_posix() not in present:
            found.add("missing label map", entry.file_name)
            refused.add(entry.image_id)
        elif entry.image_id in usable:
            places[entry.image_id] = place
    _say_unknown("unknown category", unknown, "image", found)
    for image_id in [image_id for image_id in usable if image_id not in places]:
        if image_id not in refused:
            found.add("image without annotation", _name(spans.images[usable[image_id]]))
        del usable[image_id]
    return sorted(places.values())


def _instances(
    spans: Spans,
    image_ids: Collection[int],
    usable: dict[int, int],
    annotations: Path,
    vocabulary: Vocabulary,
    found: FindingList,
) -> list[int]:
    """The places of annotations whose images can be used."""
    known, unknown, places = set(vocabulary.ids), Counter[int](), list[int]()
    annotated, split = set[int](), len(vocabulary.unseen) > 0
    for place, entry in enumerate(decode_each(spans.annotations, _Instance, annotations, "annotation", _neither)):
        annotated.add(entry.image_id)
        outside = entry.category_id not in known
        unknown.update([entry.category_id] if outside else [])
        if entry.image_id not in image_ids:
            found.add("annotation without image", f"image id {entry.image_id}")
        elif entry.image_id in usable and (split or not outside):
            if draws_nothing(entry.segmentation):
                number = place if entry.id is UNSET else entry.id
                found.add("instance without pixel", f"id {number} of {_name(spans.images[usable[entry.image_id]])}")
            else:
                places.append(place)
    _say_unknown("category outside" if split else "unknown category", unknown, "instance", found)
    for image_id in [image_id for image_id in usable if image_id not in annotated]:
        found.add("image without instance", _name(spans.images[usable[image_id]]))
    return places


def _is_safe(name: str, annotations: Path, found: FindingList) -> bool:
    try:
        check_name(name, annotations)
    except ConcatError:
        found.add("unsafe name", repr(name))
        return False
    return True


def _say_unknown(kind: str, counts: Counter[int], what: str, found: FindingList) -> None:
    for category_id, count in counts.most_common():
        found.add(kind, f"id {category_id} in {count:,} {what}{'' if count == 1 else 's'}")


def _name(image: Raw) -> str:
    return decode_value(image, _Image).file_name


def _neither(path: Path, what: str) -> CorruptFileError:
    mend = "Give COCO's panoptic json (panoptic_train2017.json) or its instances json (instances_train2017.json)."
    return CorruptFileError(f"Neither a COCO-panoptic nor a COCO-instances json: {what}.", file=path, mend=mend)
