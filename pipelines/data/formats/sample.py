"""What a data set yields and a segmentor learns from."""

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One image with its segments.

    Attributes:
        image_id: id in the data set's json.
        image: uint8, 3×H×W, RGB.
        masks: bool, O×H×W, one for each segment; crowd and void are none.
        labels: int64, O, index in the vocabulary at hand.
        segment_ids: int64, O, ids in the panoptic PNG.
        ignore: bool, H×W, pixels without weight: void, crowd and padding.
        mirrored: left stands for right.
    """

    image_id: int
    image: Tensor
    masks: Tensor
    labels: Tensor
    segment_ids: Tensor
    ignore: Tensor
    mirrored: bool = False

    def flipped(self) -> "Sample":
        """The sample mirrored, left for right."""
        return replace(
            self,
            image=self.image.flip(-1),
            masks=self.masks.flip(-1),
            ignore=self.ignore.flip(-1),
            mirrored=not self.mirrored,
        )

    def pin_memory(self) -> "Sample":
        """The sample in memory from which a device can copy while the host goes on; DataLoader calls it."""
        pinned = {name: getattr(self, name).pin_memory() for name in ("image", "masks", "labels", "ignore")}
        return replace(self, **pinned)
