"""The json of COCO's panoptic format: images, and for each a PNG name with the segments painted in it."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pipelines.base.errors import CorruptFileError
from pipelines.base.files import atomic_path
from pipelines.data.files.decode_json import decode_json
from pipelines.data.files.file_names import check_name
from pipelines.vocabularies.vocabulary import Vocabulary

SegmentId = Annotated[int, Meta(ge=0, lt=2**24)]  # what an RGB pixel holds; 0 is void, though some list it
CategoryId = Annotated[int, Meta(ge=0, lt=2**24)]
Area = Annotated[int, Meta(ge=0, lt=2**53)]
Crowd = Annotated[int, Meta(ge=0, le=1)]
Side = Annotated[int, Meta(gt=0, lt=2**16)]
ImageId = Annotated[int, Meta(gt=-(2**62), lt=2**62)]  # kept as int64

# No cycles can arise between these, so the garbage collector need not walk 1.3 million of them (gc=False).


class SegmentInfo(msgspec.Struct, gc=False):
    """One segment: its id in the PNG, its category's id, area in px and box (x, y, width, height) in px.

    An area that is not stated is that of its pixels in the PNG.
    """

    id: SegmentId
    category_id: CategoryId
    area: Area | UnsetType = UNSET
    iscrowd: Crowd = 0
    bbox: tuple[float, float, float, float] | UnsetType = UNSET


class Annotation(msgspec.Struct, gc=False):
    """The segments of one image and the PNG that shows them."""

    image_id: ImageId
    file_name: str
    segments_info: list[SegmentInfo]


class ImageInfo(msgspec.Struct, gc=False):
    """One image; height and width in px."""

    id: ImageId
    file_name: str
    height: Side
    width: Side


class CategoryEntry(TypedDict):
    """A category as the official tools read it."""

    id: int
    name: str
    isthing: int
    supercategory: str
    color: list[int]


class PanopticJson(msgspec.Struct):
    """Images and their annotations, in the order of the file."""

    images: list[ImageInfo]
    annotations: list[Annotation]

    def pairs(self) -> list[tuple[ImageInfo, Annotation]]:
        """Every image with its annotation, in the order of the images."""
        annotation_of = {annotation.image_id: annotation for annotation in self.annotations}
        return [(image, annotation_of[image.id]) for image in self.images]


def not_panoptic(path: Path, what: str) -> CorruptFileError:
    """The error for a json that is none of COCO's panoptic format."""
    mend = "Give COCO's panoptic json (panoptic_train2017.json), not the one of instances or captions."
    return CorruptFileError(f"Not a COCO-panoptic json: {what}.", file=path, mend=mend)


def read_panoptic(path: Path, cache: Path | None = None) -> PanopticJson:
    """Reads and checks a COCO-panoptic json, which may lie in a zip (`cache`: see `open_files`).

    Raises:
        ConcatError: the file is missing.
        CorruptFileError: it is damaged or lacks a field, an image stands in it twice, an image and its annotation are
            not both there, or a file name leads out of its folder.
    """
    content = decode_json(path, PanopticJson, not_panoptic, cache)
    image_ids = [image.id for image in content.images]
    annotated = [annotation.image_id for annotation in content.annotations]
    check_ids(image_ids, annotated, path)
    missing = set(image_ids).difference(annotated)
    if missing:
        raise CorruptFileError(f"Image {min(missing)} has no annotation.", file=path)
    for name in [image.file_name for image in content.images] + [entry.file_name for entry in content.annotations]:
        check_name(name, path)
    return content


def check_ids(image_ids: Collection[int], annotated: Collection[int], path: Path) -> None:
    """Refuses an image or an annotation that stands twice, and an annotation without image.

    Raises:
        CorruptFileError: with the id of the image.
    """
    for ids, what in ((image_ids, "Image {} stands more than once"), (annotated, "Image {} is annotated twice")):
        if len(set(ids)) != len(ids):
            raise CorruptFileError(f"{what.format(_first_repeated(ids))}.", file=path)
    orphans = set(annotated).difference(image_ids)
    if orphans:
        raise CorruptFileError(f"The image {min(orphans)} is annotated but not listed.", file=path)


def _first_repeated(ids: Iterable[int]) -> int:
    met: set[int] = set()
    return next(i for i in ids if i in met or met.add(i))  # type: ignore[func-returns-value]


def category_entries(vocabulary: Vocabulary) -> list[CategoryEntry]:
    """The `categories` of a json. A vocabulary knows no super-categories, so they are "thing" and "stuff"."""
    return [
        CategoryEntry(
            id=c.id,
            name=c.name,
            isthing=int(c.isthing),
            supercategory="thing" if c.isthing else "stuff",
            color=list(c.color),
        )
        for c in vocabulary.categories
    ]


def write_panoptic(
    path: Path,
    *,
    images: Sequence[ImageInfo],
    annotations: Sequence[Annotation],
    vocabulary: Vocabulary,
    info: dict[str, Any] | None = None,
) -> None:
    """Writes a COCO-panoptic json atomically."""
    content = {
        "info": info or {},
        "images": images,
        "annotations": annotations,
        "categories": category_entries(vocabulary),
    }
    with atomic_path(path) as partial:
        partial.write_bytes(msgspec.json.encode(content) + b"\n")
