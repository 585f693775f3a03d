"""How many images and segments a training list holds, or will hold, told from a json alone and without writing one."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipelines.base.errors import CorruptFileError
from pipelines.base.terms import Protocol, Task
from pipelines.data.files.decode_json import decode_json
from pipelines.data.formats.coco_panoptic import CategoryId, Crowd
from pipelines.vocabularies.vocabulary import Vocabulary

Held = Sequence[tuple[int, bool]]
"""The segments of an image: the id of each one's category, and whether it is a crowd."""


class Counted(NamedTuple):
    """Images, and their segments without crowds."""

    images: int
    segments: int


class _Segment(msgspec.Struct, gc=False):
    category_id: CategoryId
    iscrowd: Crowd = 0


class _Annotation(msgspec.Struct, gc=False):
    """The segments of an image, or, in a json of instances, one of them."""

    image_id: int
    segments_info: list[_Segment] | None = None
    category_id: int = 0
    iscrowd: Crowd = 0


class _Image(msgspec.Struct, gc=False):
    id: int


class _Json(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]


def count_listed(listing: Path) -> Counted:
    """What a list holds as it stands, whatever the task.

    Raises:
        ConcatError: it is missing, or no list.
    """
    images = _read(listing)
    return Counted(len(images), sum(not crowd for held in images for _, crowd in held))


def count_kept(annotations: Path, task: Task, protocol: Protocol, vocabulary: Vocabulary) -> Counted:
    """What the training list of a json will hold, nearly: whether masks have a pixel is not looked at.

    Raises:
        ConcatError: the json is missing, or none of COCO's.
    """
    return kept_of(_read(annotations), task, protocol, vocabulary)


def kept_of(images: Iterable[Held], task: Task, protocol: Protocol, vocabulary: Vocabulary) -> Counted:
    """What a protocol keeps of images."""
    known, unseen = set(vocabulary.ids), set(vocabulary.unseen.ids)
    empty_too = task == "panoptic" and protocol == "zps"
    kept = [_listed(held, known, unseen, protocol) for held in images]
    left = [segments for segments in kept if segments is not None and (segments or empty_too)]
    return Counted(len(left), sum(left))


def _listed(held: Held, known: Collection[int], unseen: Collection[int], protocol: Protocol) -> int | None:
    """The segments of an image that a list would hold; None: the image is dropped."""
    if protocol == "zps" and any(category in unseen for category, _ in held):
        return None
    return sum(category in known and category not in unseen and not crowd for category, crowd in held)


def _read(path: Path) -> list[Held]:
    content = decode_json(path, _Json, _refusal)
    held: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for annotation in content.annotations:
        of_image = held[annotation.image_id]
        if annotation.segments_info is None:
            of_image.append((annotation.category_id, bool(annotation.iscrowd)))
        else:
            of_image += [(segment.category_id, bool(segment.iscrowd)) for segment in annotation.segments_info]
    return [held.get(image.id, []) for image in content.images]


def _refusal(path: Path, what: str) -> CorruptFileError:
    return CorruptFileError(f"Not a COCO json: {what}.", file=path, mend="Give the json of segments or of instances.")
