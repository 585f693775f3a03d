"""A large COCO json cut into entries without parsing them, and a new one written from such entries.

A full-size json (COCO's panoptic: 118,287 images, 1.3 million segments, 165 MB; its instances: 450 MB) is too large to
hold as objects: entries stay the bytes they are, one after the other is decoded as far as it is needed, and those that
are kept are copied byte for byte.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Raw

from pipelines.base.files import atomic_path
from pipelines.data.files.decode_json import Refusal, decode_json, refused
from pipelines.data.files.file_names import check_name
from pipelines.data.files.plain_json import plain_json

_T = TypeVar("_T")


class Spans(msgspec.Struct):
    """A COCO json with its entries as undecoded bytes."""

    images: list[Raw]
    annotations: list[Raw]
    info: Raw = Raw(b"{}")
    licenses: Raw = Raw(b"[]")
    categories: Raw = Raw(b"[]")


class ListedImage(msgspec.Struct, gc=False):
    """What a list needs to know of an image."""

    id: int
    file_name: str


def read_spans(path: Path, refusal: Refusal) -> Spans:
    """Cuts a json, which may lie in a zip, into entries.

    Raises:
        ConcatError: the file is missing or may not be read.
        CorruptFileError: it is truncated, no JSON, or lacks a field of the format.
    """
    return decode_json(path, Spans, refusal)


def decode_each(spans: Sequence[Raw], kind: type[_T], path: Path, what: str, refusal: Refusal) -> Iterator[_T]:
    """Decodes one entry after the other as `kind`, so that only one is held as objects; `what` names an entry.

    Raises:
        CorruptFileError: an entry is none of `kind`.
    """
    decoder = msgspec.json.Decoder(kind)
    for number, span in enumerate(spans):
        try:
            try:
                yield decoder.decode(span)
            except msgspec.ValidationError:
                yield decoder.decode(plain_json(bytes(span)))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise refused(refusal, path, f"{what} number {number}: {error}") from None


def read_images(spans: Spans, path: Path, refusal: Refusal) -> list[ListedImage]:
    """Id and name of each image.

    Raises:
        CorruptFileError: an entry is no image, or its file name leads out of its folder.
    """
    images = list(decode_each(spans.images, ListedImage, path, "image", refusal))
    for image in images:
        check_name(image.file_name, path)
    return images


def write_spans(out: Path, fields: Mapping[str, bytes | Raw | Iterable[bytes | Raw]]) -> None:
    """Writes a json atomically: of each field its JSON, or the JSON of its entries, one a line."""
    with atomic_path(out) as partial, open(partial, "wb") as file:
        for number, (name, value) in enumerate(fields.items()):
            file.write(f'{"," if number else "{"}"{name}":'.encode())
            if isinstance(value, bytes | Raw):
                file.write(value)
                continue
            file.write(b"[\n")
            for place, entry in enumerate(value):
                file.writelines((b",\n" if place else b"", entry))
            file.write(b"]")
        file.write(b"}\n")
