"""The json of COCO's instances: images, and instances whose masks are polygons or runs."""

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw
from pycocotools import mask as coco_mask

from pipelines.base.errors import CorruptFileError
from pipelines.data.files.decode_json import decode_json
from pipelines.data.files.file_names import check_name
from pipelines.data.formats.coco_panoptic import CategoryId, Crowd, ImageId, ImageInfo, check_ids
from pipelines.metrics.rle import DamagedMaskError
from pipelines.metrics.truth_rle import truth_rle

_SHORT: Final = 400  # bytes
MOST_PIXELS: Final = 1 << 27
"""Pixels of an image; one that claims more would fill the memory, for its masks are painted unseen."""


class Instance(msgspec.Struct, gc=False):
    """One instance; its mask stays undecoded, for COCO's 860,000 would take gigabytes as objects.

    `area` is in px and as the json states it, which is seldom that of the mask to the pixel.
    """

    image_id: ImageId
    category_id: CategoryId
    segmentation: Raw
    area: Annotated[float, Meta(ge=0, lt=2**53)] = 0.0
    iscrowd: Crowd = 0


class InstancesJson(msgspec.Struct):
    """Images and instances, in the order of the file."""

    images: list[ImageInfo]
    annotations: list[Instance]

    def by_image(self) -> dict[int, list[Instance]]:
        """Image id → its instances, in the order of the file; an image without any has no entry."""
        found: dict[int, list[Instance]] = defaultdict(list)
        for instance in self.annotations:
            found[instance.image_id].append(instance)
        return dict(found)


def read_instances(path: Path, cache: Path | None = None) -> InstancesJson:
    """Reads and checks a COCO instances json, which may lie in a zip; masks are not looked at.

    Raises:
        ConcatError: the file is missing.
        CorruptFileError: it is damaged or lacks a field, an image stands in it twice, an instance's image is not there,
            an image is beyond all size, or a file name
            leads out of its folder.
    """
    content = decode_json(path, InstancesJson, not_instances, cache)
    image_ids = [image.id for image in content.images]
    check_ids(image_ids, (), path)
    orphans = {instance.image_id for instance in content.annotations}.difference(image_ids)
    if orphans:
        raise CorruptFileError(f"The image {min(orphans)} is annotated but not listed.", file=path)
    for image in content.images:
        check_name(image.file_name, path)
        if image.height * image.width > MOST_PIXELS:
            raise CorruptFileError(f"Image {image.id} is said to have {image.width}×{image.height} px.", file=path)
    return content


def draws_nothing(segmentation: Raw) -> bool:
    """Whether a mask is stated as empty: no polygon of three corners, or no run of pixels.

    Masks of many bytes are not looked into; polygons that fall between the pixels are found when they are drawn.
    """
    if not 0 < len(segmentation) < _SHORT:
        return False
    try:
        mask = msgspec.json.decode(segmentation)
        if isinstance(mask, list):
            return all(isinstance(polygon, list) and len(polygon) < 6 for polygon in mask)
        height, width = mask["size"]
        return not coco_mask.area(truth_rle(mask, (height, width)))
    except (msgspec.DecodeError, UnicodeDecodeError, DamagedMaskError, KeyError, TypeError, ValueError):
        return False  # its reader says what it is


def not_instances(path: Path, what: str) -> CorruptFileError:
    """The error for a json that is none of COCO's instances."""
    mend = "Give COCO's instances json (instances_train2017.json), not the one of panoptic segments or captions."
    return CorruptFileError(f"Not a COCO instances json: {what}.", file=path, mend=mend)
