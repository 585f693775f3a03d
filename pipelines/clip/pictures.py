"""The pictures of an image that CLIP is to see, from the files to pixels of its input size, in any process."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.base.errors import CorruptFileError
from pipelines.clip.masked import masked_image
from pipelines.data.formats.sample import Sample

Geometry = Callable[[Image.Image], Image.Image]


class Samples(Protocol):
    """Images with segments, read one at a time."""

    def sample(self, index: int) -> Sample:
        """An image with the masks of its segments, crowd left out."""


@dataclass(frozen=True)
class Wanted:
    """An image to make pictures of.

    Attributes:
        index: its place in the data set.
        segment_ids: its segments as its list has them.
    """

    index: int
    segment_ids: list[int]


@dataclass(frozen=True)
class Pictures:
    """Makes the pictures of an image; can be pickled if its parts can.

    Attributes:
        images: the data set.
        geometry: brings a picture to CLIP's input size, s×s px.
        masked: how a segment is shown, see `masked_image`.
        fill: the colour that surrounds it.
        mirrored: whether the pictures of the mirrored image follow.
    """

    images: Samples
    geometry: Geometry
    masked: Literal["full", "crop"]
    fill: tuple[int, int, int]
    mirrored: bool

    def __call__(self, wanted: Wanted) -> NDArray[np.uint8]:
        """View by view the complete image, then its segments: views·(1 + O)×s×s×3.

        Raises:
            ConcatError: a file is missing.
            CorruptFileError: a file is damaged, or the image has other segments than its list says.
        """
        sample = self.images.sample(wanted.index)
        if sample.segment_ids.tolist() != wanted.segment_ids:
            raise CorruptFileError(f"Image {sample.image_id} has other segments than its json lists.")
        views = (sample, sample.flipped()) if self.mirrored else (sample,)
        return resized((picture for view in views for picture in self._of_view(view)), self.geometry)

    def _of_view(self, view: Sample) -> Iterator[Image.Image]:
        image = view.image.permute(1, 2, 0).contiguous().numpy()  # H×W×3
        yield Image.fromarray(image)
        for mask in view.masks.numpy():
            yield masked_image(image, mask, masked=self.masked, fill=self.fill)


def resized(pictures: Iterable[Image.Image], geometry: Geometry) -> NDArray[np.uint8]:
    """RGB pictures of any sizes at the size that a geometry gives them (n×s×s×3)."""
    return np.stack([np.asarray(geometry(picture)) for picture in pictures])


def batched(images: Iterable[NDArray[np.uint8]], size: int) -> Iterator[NDArray[np.uint8]]:
    """The pictures of images (each k×s×s×3), `size` at a time (n×s×s×3, fewer in the last), in their order."""
    waiting: list[NDArray[np.uint8]] = []
    for image in images:
        waiting.extend(image)
        while len(waiting) >= size:
            yield np.stack(waiting[:size])
            del waiting[:size]
    if waiting:
        yield np.stack(waiting)
