"""The json of COCO's instances: images, and instances whose masks are polygons or runs."""

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from pipelines.base.errors import CorruptFileError
from pipelines.data.files.decode_json import decode_json
from pipelines.data.files.file_names import check_name
from pipelines.data.formats.coco_panoptic import CategoryId, ImageId, ImageInfo, check_ids

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
    iscrowd: Annotated[int, Meta(ge=0, le=1)] = 0


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


def not_instances(path: Path, what: str) -> CorruptFileError:
    """The error for a json that is none of COCO's instances."""
    mend = "Give COCO's instances json (instances_train2017.json), not the one of panoptic segments or captions."
    return CorruptFileError(f"Not a COCO instances json: {what}.", file=path, mend=mend)
