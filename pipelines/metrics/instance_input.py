"""Instances as COCO's jsons state them, checked and brought into the form that pycocotools scores.

pycocotools takes what it finds: it scores NaN, reads a result of four numbers as a box, and counts a truth with the id
0 as never found. Here all of that is refused with the image's id, or mended.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pycocotools import mask as coco_mask

from pipelines.base.errors import ConcatError
from pipelines.metrics.numbers import is_finite, is_integer
from pipelines.metrics.rle import DamagedMaskError, checked_rle
from pipelines.metrics.truth_rle import FARTHEST, truth_rle

Kind = Literal["segm", "bbox"]
Entry = dict[str, Any]

_LONGEST_SIDE: Final = 2**16 - 1  # px; pycocotools counts the pixels of an image in 32 bits


class _WrongError(Exception):
    """What is wrong with one entry; the message completes "<the entry> …"."""


@dataclass(frozen=True)
class Images:
    """The images of a ground truth and the categories that its instances and results may have.

    Attributes:
        sizes: image id → height and width in px.
        categories: category ids.
    """

    sizes: Mapping[int, tuple[int, int]]
    categories: Collection[int]


def checked_images(truth: Mapping[str, Any], category_ids: Collection[int]) -> Images:
    """The images of a COCO instances json and its categories, with those asked for.

    Raises:
        ConcatError: an entry lacks what it must have, or an image stands twice.
    """
    sizes: dict[int, tuple[int, int]] = {}
    for image in _entries(truth, "images"):
        name: Any = image.get("id")
        size: list[Any] = [image.get("height"), image.get("width")]
        if not is_integer(name) or not all(is_integer(side) and 0 < side <= _LONGEST_SIDE for side in size):
            raise ConcatError(f"Image {name!r} of the ground truth lacks an integer as id, height or width (px).")
        if name in sizes:
            raise ConcatError(f"The ground truth lists image {name} twice.")
        sizes[name] = (size[0], size[1])
    listed: list[Any] = [category.get("id") for category in _entries(truth, "categories")]
    return Images(sizes, {*(int(c) for c in listed if is_integer(c)), *category_ids})


def without_empty(truth: Mapping[str, Any], category_ids: Collection[int]) -> tuple[dict[str, Any], list[Entry]]:
    """A COCO instances json without the instances that have no pixel, which are no objects; and these.

    Exporters write them as no polygon at all, or as polygons of two points.

    Raises:
        ConcatError: as `checked_truth`.
    """
    images = checked_images(truth, category_ids)
    kept: list[Mapping[str, Any]] = []
    empty: list[Mapping[str, Any]] = []
    for number, annotation in enumerate(_entries(truth, "annotations")):
        try:
            (empty if _is_empty(annotation, images) else kept).append(annotation)
        except _WrongError as error:
            raise _error(f"Instance {annotation.get('id', number)} of the ground truth", annotation, error) from None
    return {**truth, "annotations": kept}, [dict(annotation) for annotation in empty]


def _is_empty(annotation: Mapping[str, Any], images: Images) -> bool:
    size, segmentation = _size(annotation, images), annotation.get("segmentation")
    try:
        return segmentation is not None and not coco_mask.area(truth_rle(segmentation, size))
    except DamagedMaskError as error:
        raise _WrongError(f"has a damaged mask: it {error}") from None


def checked_truth(truth: Mapping[str, Any], images: Images, kind: Kind) -> list[Entry]:
    """The instances of a COCO instances json for pycocotools, numbered from 1.

    Raises:
        ConcatError: an instance is damaged, of an unknown image or category, or has the id of another; names it.
    """
    ids: set[Any] = set()
    checked = []
    for number, annotation in enumerate(_entries(truth, "annotations")):
        name = annotation.get("id", number)
        try:
            size = _size(annotation, images)
            if not is_integer(name) or name in ids:
                raise _WrongError("has the id of another" if is_integer(name) else "has no integer as id")
            ids.add(name)
            checked.append({**_shape(annotation, size, kind, polygons=True), "id": number + 1, **_owner(annotation)})
            checked[-1]["iscrowd"] = int(bool(annotation.get("iscrowd", 0)))
        except _WrongError as error:
            raise _error(f"Instance {name} of the ground truth", annotation, error) from None
    return checked


def checked_results(results: Sequence[Mapping[str, Any]], images: Images, kind: Kind) -> list[Entry]:
    """Results in COCO's format for pycocotools, numbered from 1.

    Raises:
        ConcatError: a result is damaged, of an unknown image or category, or has no finite score; names it.
    """
    checked = []
    for number, result in enumerate(_list_of_entries(results, "The results")):
        try:
            size = _size(result, images)
            if not is_finite(result.get("score")):
                raise _WrongError(f"has no finite score but {result.get('score')!r}")
            shape = _shape(result, size, kind, polygons=False)
            checked.append({**shape, "id": number + 1, **_owner(result), "score": float(result["score"])})
        except _WrongError as error:
            raise _error(f"Result {number} (counted from 0)", result, error) from None
    return checked


def _entries(content: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    if not isinstance(content, Mapping) or name not in content:
        raise ConcatError(f"The ground truth has no {name!r}: it is no COCO instances json.")
    return _list_of_entries(content[name], f"{name!r} of the ground truth")


def _list_of_entries(entries: Any, owner: str) -> list[Mapping[str, Any]]:
    if not isinstance(entries, list | tuple) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ConcatError(f"{owner} are no list of JSON objects.")
    return list(entries)


def _size(entry: Mapping[str, Any], images: Images) -> tuple[int, int]:
    """Height and width of the image of an entry, whose category is known."""
    for key, known in (("image_id", images.sizes), ("category_id", images.categories)):
        if not is_integer(entry.get(key)) or entry[key] not in known:
            raise _WrongError(f"has an unknown {key}: {entry.get(key)!r}")
    return images.sizes[entry["image_id"]]


def _owner(entry: Mapping[str, Any]) -> Entry:
    """Image and category of an entry. Only area "all" is scored, so the area need not be right."""
    return {"image_id": int(entry["image_id"]), "category_id": int(entry["category_id"]), "area": 0}


def _shape(entry: Mapping[str, Any], size: tuple[int, int], kind: Kind, *, polygons: bool) -> Entry:
    """The mask of an entry, or its box, which is the mask's where the entry states none."""
    box: Any = entry.get("bbox")
    if kind == "bbox" and box is not None and box != []:
        return {"bbox": _box(box, size)}
    segmentation = entry.get("segmentation")
    if segmentation is None:
        raise _WrongError("has no segmentation" if kind == "segm" else "has neither bbox nor segmentation")
    try:
        rle = truth_rle(segmentation, size) if polygons else checked_rle(segmentation, size)
    except DamagedMaskError as error:
        raise _WrongError(f"has a damaged mask: it {error}") from None
    return {"segmentation": rle} if kind == "segm" else {"bbox": coco_mask.toBbox(rle).tolist()}


def _box(box: Any, size: tuple[int, int]) -> list[float]:
    """A box x, y, width, height in px; it may stick out of its image."""
    numbers = isinstance(box, list | tuple) and len(box) == 4 and all(is_finite(value) for value in box)
    if not numbers or min(box[2:]) < 0:
        raise _WrongError(f"has no box x, y, width, height but {box!r}")
    if max(abs(value) for value in box) > FARTHEST * max(size):
        raise _WrongError(f"has a box far outside its image: {box!r}")
    return [float(value) for value in box]


def _error(owner: str, entry: Mapping[str, Any], error: _WrongError) -> ConcatError:
    image = entry.get("image_id")
    return ConcatError(f"{owner}, image {image!r}, {error}.")
