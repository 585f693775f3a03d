"""Augmentation while training, resizing at inference. Images stay uint8; a segmentor normalises them itself.

All chance of a training transform comes from one seed, so a sample is the same in any process and after any resume.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from pipelines.data.formats.sample import Sample
from pipelines.data.loading.settings import InputSettings

SampleTransform = Callable[[Sample, int], Sample]
PADDING = (124, 116, 104)
"""ImageNet's mean colour, which normalisation turns into 0."""
STRIDE = 32


@dataclass(frozen=True)
class TrainTransform:
    """Large-scale jitter to a square crop, flips and quarter turns (Ghiasi et al., "Simple Copy-Paste", section 3)."""

    settings: InputSettings

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """The sample at crop × crop px. Padding is ignored; segments without a pixel left are gone."""
        draws = torch.rand(5, generator=torch.Generator().manual_seed(seed)).tolist()
        scale, top, left, flip, turn = draws
        crop = self.settings.crop
        picture = _Picture.of(sample)
        picture = picture.resized(_jittered(picture.size, self.settings, scale))
        picture = picture.cropped(crop, top, left).padded(crop)
        mirrored = flip < self.settings.flip
        if mirrored:
            picture = picture.mapped(lambda pixels: pixels.flip(-1))
        if self.settings.quarter_turns:
            picture = picture.mapped(lambda pixels: pixels.rot90(int(4 * turn), (-2, -1)))
        return picture.to_sample(sample, mirrored=sample.mirrored != mirrored)


def test_transform(image: Tensor, *, short: int, long: int) -> tuple[Tensor, tuple[int, int]]:
    """An image as the extractor sees it at inference.

    Args:
        image: uint8, 3×H×W.
        short: wanted length of the shorter side (px).
        long: the longer side is never made longer than this (px).

    Returns:
        uint8, 3×H'×W', padded at the right and bottom to multiples of 32; and (height, width) of the part that is
        image. An image that has the wanted size already is not resampled.
    """
    height, width = image.shape[-2:]
    scale = min(short / min(height, width), long / max(height, width))
    content = _scaled((height, width), scale)
    image = _resize_image(image, content)
    return _pad(image, *(-(-side // STRIDE) * STRIDE for side in content), fill=PADDING), content


test_transform.__test__ = False  # type: ignore[attr-defined]  # pytest takes any test_* for a test


@dataclass(frozen=True)
class _Picture:
    """An image (uint8, 3×H×W) and its map (int32, 1×H×W): 1 + index of the segment, 0 for none, −1 to ignore.

    One map instead of a mask for each segment makes the cost of a transform independent of their number.
    """

    image: Tensor
    map: Tensor

    @classmethod
    def of(cls, sample: Sample) -> "_Picture":
        owner = torch.zeros(sample.ignore.shape, dtype=torch.int32)
        for number, mask in enumerate(sample.masks, start=1):  # disjoint, as the masks of a panoptic label are
            owner.masked_fill_(mask, number)
        return cls(sample.image, owner.masked_fill(sample.ignore, -1)[None])

    def to_sample(self, original: Sample, *, mirrored: bool) -> Sample:
        numbers = torch.arange(1, len(original.labels) + 1, dtype=torch.int32)
        masks = self.map == numbers[:, None, None]  # O×H×W
        left = masks.flatten(1).any(dim=1)
        return Sample(
            image_id=original.image_id,
            image=self.image.contiguous(),
            masks=masks[left],
            labels=original.labels[left],
            segment_ids=original.segment_ids[left],
            ignore=self.map[0] == -1,
            mirrored=mirrored,
        )

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[-2], self.image.shape[-1]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "_Picture":
        return _Picture(change(self.image), change(self.map))

    def resized(self, size: tuple[int, int]) -> "_Picture":
        if size == self.size:
            return self
        nearest = tv.InterpolationMode.NEAREST_EXACT  # the one whose pixel centres agree with the image's
        return _Picture(_resize_image(self.image, size), tv.resize(self.map, list(size), interpolation=nearest))

    def cropped(self, side: int, top: float, left: float) -> "_Picture":
        """At most side × side px, from the place that `top` and `left` (in [0, 1)) choose among the possible ones."""
        height, width = self.size
        y, x = int(top * (max(height - side, 0) + 1)), int(left * (max(width - side, 0) + 1))
        return self.mapped(lambda pixels: pixels[..., y : y + side, x : x + side])

    def padded(self, side: int) -> "_Picture":
        return _Picture(_pad(self.image, side, side, fill=PADDING), _pad(self.map, side, side, fill=(-1,)))


def _jittered(size: tuple[int, int], settings: InputSettings, draw: float) -> tuple[int, int]:
    """The size that fits into a square of scale × crop px, the scale drawn evenly between its limits."""
    scale = settings.min_scale + draw * (settings.max_scale - settings.min_scale)
    return _scaled(size, scale * settings.crop / max(size))


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    height, width = (max(1, round(side * scale)) for side in size)
    return height, width


def _resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    if size == tuple(image.shape[-2:]):
        return image
    resized: Tensor = tv.resize(image, list(size), interpolation=tv.InterpolationMode.BILINEAR, antialias=True)
    return resized


def _pad(pixels: Tensor, height: int, width: int, *, fill: tuple[int, ...]) -> Tensor:
    """C×H×W with `fill` (a value for each channel) to the right and at the bottom."""
    h, w = pixels.shape[-2:]
    if (h, w) == (height, width):
        return pixels
    padded = torch.tensor(fill, dtype=pixels.dtype)[:, None, None].repeat(1, height, width)
    padded[:, :h, :w] = pixels
    return padded
