"""The segments of a batch in one place, and what they are at given points."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pipelines.losses.points import read_points, sample_pixels


@dataclass(frozen=True)
class PointTargets:
    """Targets at points that all images share.

    Attributes:
        coords: P×2, in [0, 1].
        values: fp32, ΣO×P, the masks.
        weight: fp32, B×P, 0 on ignored pixels, else 1.
    """

    coords: Tensor
    values: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Targets:
    """The segments of a batch of B images of one size, image after image.

    Attributes:
        masks: bool, ΣO×H×W.
        labels: int64, ΣO, index of the name.
        ignore: bool, B×H×W, void, crowd, ignored and padded pixels.
        counts: O of each image.
    """

    masks: Tensor
    labels: Tensor
    ignore: Tensor
    counts: tuple[int, ...]

    @classmethod
    def collate(cls, masks: Sequence[Tensor], labels: Sequence[Tensor], ignore: Sequence[Tensor]) -> "Targets":
        """Joins the targets of B images of one size.

        Args:
            masks: B × (bool, O_i×H×W).
            labels: B × (int64, O_i).
            ignore: B × (bool, H×W).
        """
        return cls(
            torch.cat(list(masks)),
            torch.cat(list(labels)),
            torch.stack(list(ignore)),
            tuple(len(of_image) for of_image in labels),
        )

    def at(self, coords: Tensor) -> PointTargets:
        """The masks (bilinear) and the weights (of the pixel a point lies in) at `coords`, P×2."""
        return PointTargets(coords, read_points(self.masks, coords), (~sample_pixels(self.ignore, coords)).float())

    def padded(self, of_segments: Tensor) -> Tensor:
        """ΣO×… → B×max(O)×…, zeros where an image has fewer segments."""
        return pad_sequence(list(of_segments.split(self.counts)), batch_first=True)
