"""Images with COCO's instances, their masks painted into one id map, small ones in front of large ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from pipelines.base.errors import CorruptFileError
from pipelines.data.files.archives import open_files
from pipelines.data.formats.coco_instances import Instance, read_instances
from pipelines.data.formats.coco_panoptic import Annotation, ImageInfo, SegmentInfo
from pipelines.data.formats.labelled_images import VOID, LabelledImages, Labels, refuse_category
from pipelines.metrics.rle import DamagedMaskError, Rle
from pipelines.metrics.truth_rle import truth_rle
from pipelines.vocabularies.vocabulary import Vocabulary


def open_instance_images(
    annotations: Path, images: Path, vocabulary: Vocabulary, *, cache: Path | None = None
) -> LabelledImages:
    """Images of a COCO instances json; either path may be a zip or lead through one.

    A segment's id is the instance's number within its image, from 1. Instances of categories that are none of the
    vocabulary (48/17 has 65 of COCO's 80) are no segments, and their pixels are ignored. Where there is no instance,
    there is background: no segment, but not ignored.

    Args:
        annotations: the json.
        images: the images it lists.
        vocabulary: the categories.
        cache: see `open_files`.

    Raises:
        ConcatError: a file is missing.
        CorruptFileError: the json is damaged or inconsistent.
        ProtocolError: the vocabulary holds seen categories alone, and an instance has another one.
    """
    content = read_instances(annotations, cache)
    instances, categories = content.by_image(), frozenset(vocabulary.ids)
    entries = []
    for image in content.images:
        found = instances.get(image.id, ())
        outside = [instance.category_id for instance in found if instance.category_id not in categories]
        if outside and not len(vocabulary.unseen):
            refuse_category(image, outside[0], vocabulary, annotations)
        entries.append((image, _annotation(image, found, categories)))
    return LabelledImages(
        listing=annotations,
        entries=entries,
        images=open_files(images, cache),
        read_labels=_Masks(annotations, instances),
        vocabulary=vocabulary,
    )


def _annotation(image: ImageInfo, instances: Sequence[Instance], categories: frozenset[int]) -> Annotation:
    """The instances of the vocabulary as segments; there is no label file."""
    segments = [
        SegmentInfo(number, instance.category_id, round(instance.area), instance.iscrowd)
        for number, instance in enumerate(instances, start=1)
        if instance.category_id in categories
    ]
    return Annotation(image.id, "", segments)


@dataclass(frozen=True)
class _Masks:
    listing: Path
    instances: Mapping[int, Sequence[Instance]]

    def __getstate__(self) -> tuple[Path, bytes]:
        """For another process: as json again, in a second for all of COCO."""
        return self.listing, msgspec.json.encode(self.instances)

    def __setstate__(self, state: tuple[Path, bytes]) -> None:
        self.__dict__.update(listing=state[0], instances=msgspec.json.decode(state[1], type=dict[int, list[Instance]]))

    def __call__(self, info: ImageInfo, annotation: Annotation) -> Labels:
        instances = self.instances.get(info.id, ())
        masks = [self._mask(info, number, instance) for number, instance in enumerate(instances, start=1)]
        areas = coco_mask.area(masks).tolist() if masks else []
        ids = np.zeros((info.height, info.width), np.int32)
        for k in sorted(range(len(masks)), key=lambda k: (not instances[k].iscrowd, -areas[k])):
            ids[coco_mask.decode(masks[k]) != 0] = k + 1
        void = np.isin(ids, [VOID, *(segment.id for segment in annotation.segments_info)], invert=True)
        ids[void] = VOID
        return Labels(ids, void)

    def _mask(self, info: ImageInfo, number: int, instance: Instance) -> Rle:
        try:
            return truth_rle(msgspec.json.decode(instance.segmentation), (info.height, info.width))
        except (DamagedMaskError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CorruptFileError(
                f"Image {info.id}: the mask of its instance {number} {error}.",
                file=self.listing,
                mend="Use the json as published, with the images it was made for.",
            ) from None
