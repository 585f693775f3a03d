"""Images with label maps, whose pixels are category ids; each category of an image is one segment."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.base.errors import CorruptFileError
from pipelines.data.files.archives import Files, open_files
from pipelines.data.formats.coco_panoptic import Annotation, ImageInfo, read_panoptic
from pipelines.data.formats.label_map import decode_label_map
from pipelines.data.formats.labelled_images import (
    VOID,
    LabelledImages,
    Labels,
    check_listed_once,
    check_size,
    unique_ids,
)
from pipelines.vocabularies.vocabulary import Vocabulary


def open_semantic_images(
    annotations: Path, images: Path, labels: Path, vocabulary: Vocabulary, *, cache: Path | None = None
) -> LabelledImages:
    """Images of a list, a pixel of a category that the list does not name being void.

    Args:
        annotations: the list, in the form of COCO's panoptic json. Each segment is a category, its id the pixel value
            + 1, and an annotation's `file_name` that of the label map.
        images: the images it lists; like `labels` a folder, or a zip, or a path through one.
        labels: the label maps it lists.
        vocabulary: the categories that may occur.
        cache: see `open_files`.

    Raises:
        ConcatError: a file is missing, or a segment's category is not in the vocabulary.
        CorruptFileError: the list is damaged or inconsistent.
        ProtocolError: a segment's category is not in a vocabulary of seen categories alone.
    """
    entries = read_panoptic(annotations, cache).pairs()
    for image, annotation in entries:
        _check_ids(image, annotation, annotations)
    return LabelledImages(
        listing=annotations,
        entries=entries,
        images=open_files(images, cache),
        read_labels=_LabelMaps(annotations, open_files(labels, cache)),
        vocabulary=vocabulary,
    )


def _check_ids(image: ImageInfo, annotation: Annotation, listing: Path) -> None:
    for segment in annotation.segments_info:
        if segment.id != segment.category_id + 1:
            raise CorruptFileError(
                f"Image {image.id} lists category {segment.category_id} as segment {segment.id}, not as "
                f"{segment.category_id + 1}: it is no list of label maps.",
                file=listing,
                mend="Make it with `concat split-coco --task semantic` or `concat split-data`.",
            )


@dataclass(frozen=True)
class _LabelMaps:
    listing: Path
    files: Files

    def __call__(self, info: ImageInfo, annotation: Annotation) -> Labels:
        path = self.files.path / annotation.file_name
        values = decode_label_map(self.files.read(annotation.file_name, "Label map"), path)
        check_size(values.shape, info, path)
        listed = [segment.id for segment in annotation.segments_info]
        check_listed_once(listed, info.id, self.listing)
        all_ids = values + np.int32(1)
        ids = np.where(np.isin(all_ids, listed), all_ids, np.int32(VOID))
        missing = set(listed).difference(unique_ids(ids).tolist())
        if missing:
            raise CorruptFileError(
                f"Image {info.id} has category {min(missing) - 1} in its list but not in its label map.",
                file=path,
                mend=f"The label map does not belong to {self.listing}: make the list again.",
            )
        return Labels(ids, ids == VOID)
