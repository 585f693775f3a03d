"""Images with COCO-panoptic labels: a json that lists the segments, and PNGs that show them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.base.errors import CorruptFileError
from pipelines.data.files.archives import Files, open_files
from pipelines.data.formats.coco_panoptic import Annotation, ImageInfo, read_panoptic
from pipelines.data.formats.labelled_images import (
    VOID,
    LabelledImages,
    Labels,
    check_listed_once,
    check_size,
    unique_ids,
)
from pipelines.data.formats.panoptic_png import decode_panoptic_png
from pipelines.vocabularies.vocabulary import Vocabulary

Unlisted = Literal["refuse", "ignore"]


def open_panoptic_images(
    annotations: Path,
    images: Path,
    png: Path,
    vocabulary: Vocabulary,
    *,
    unlisted: Unlisted = "refuse",
    cache: Path | None = None,
) -> LabelledImages:
    """Images of a COCO-panoptic json; any of the paths may be a zip or lead through one.

    Args:
        annotations: the json.
        images: the images it lists.
        png: the panoptic PNGs it lists.
        vocabulary: the categories that may occur.
        unlisted: segments of a PNG that the json does not list are an error, or void (ZSS: those are the unseen ones).
        cache: see `open_files`.

    Raises:
        ConcatError: a file is missing, or a segment's category is not in the vocabulary.
        CorruptFileError: the json is damaged or inconsistent.
        ProtocolError: a segment's category is not in a vocabulary of seen categories alone.
    """
    return LabelledImages(
        listing=annotations,
        entries=read_panoptic(annotations, cache).pairs(),
        images=open_files(images, cache),
        read_labels=_PanopticPngs(annotations, open_files(png, cache), unlisted),
        vocabulary=vocabulary,
    )


@dataclass(frozen=True)
class _PanopticPngs:
    listing: Path
    files: Files
    unlisted: Unlisted

    def __call__(self, info: ImageInfo, annotation: Annotation) -> Labels:
        path = self.files.path / annotation.file_name
        ids = decode_panoptic_png(self.files.read(annotation.file_name, "Panoptic PNG"), path)
        check_size(ids.shape, info, path)
        listed = [segment.id for segment in annotation.segments_info if segment.id != VOID]  # 0 cannot be painted
        check_listed_once(listed, info.id, self.listing)
        painted = unique_ids(ids).tolist()
        unlisted, unpainted = set(painted).difference(listed), set(listed).difference(painted)
        if unlisted and self.unlisted == "ignore":
            ids = _without(ids, unlisted)
        elif unlisted:
            raise self._disagree(info, min(unlisted), "in its PNG but not in its json", path)
        if unpainted:
            raise self._disagree(info, min(unpainted), "in its json but not in its PNG", path)
        return Labels(ids, ids == VOID)

    def _disagree(self, info: ImageInfo, segment: int, where: str, path: Path) -> CorruptFileError:
        return CorruptFileError(
            f"Image {info.id} has segment {segment} {where}.",
            file=path,
            mend=f"The PNG does not belong to {self.listing}: unpack both from one release.",
        )


def _without(ids: NDArray[np.int32], gone: set[int]) -> NDArray[np.int32]:
    return np.where(np.isin(ids, sorted(gone)), np.int32(VOID), ids)
