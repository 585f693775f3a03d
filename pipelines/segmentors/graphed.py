"""A training step's segmentor as two CUDA graphs: recorded once, then started whole instead of kernel by kernel."""

import warnings

import torch
from torch import Tensor, nn


class Recording:
    """The forward and backward passes in training of a segmentor on images of one size, recorded.

    Other sizes, and evaluation, run as before. What is recorded holds its own memory, and a replay writes its gradients
    where the last one did, so gradients of several parts of a step cannot be added up.

    Args:
        segmentor: on a card, in training; the precision around is the one that it will run in.
        images: uint8, B×3×H×W, like those to come.
    """

    def __init__(self, segmentor: nn.Module, images: Tensor) -> None:
        self.segmentor, self.plain = segmentor, segmentor.forward
        kind, shape = images.device.type, images.shape
        buffers = {name: own.clone() for name, own in segmentor.named_buffers()}
        with torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False):
            torch.cuda.make_graphed_callables(segmentor, (images,), allow_unused_input=True)
        for name, own in segmentor.named_buffers():  # warming up must leave no trace in statistics
            own.copy_(buffers[name])
        replay, plain = segmentor.forward, self.plain

        def forward(given: Tensor) -> object:
            return replay(given) if given.shape == shape else plain(given)

        segmentor.forward = forward

    def forget(self) -> None:
        """Runs the segmentor kernel by kernel again, and lets go of what the recording holds."""
        self.segmentor.forward = self.plain


def recorded(segmentor: nn.Module, images: Tensor) -> Recording | None:
    """The recording, unless this card, torch or segmentor cannot be recorded, which is said once."""
    plain = segmentor.forward
    try:
        return Recording(segmentor, images)
    except RuntimeError as error:
        segmentor.forward = plain
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(f"Steps are not recorded as CUDA graphs: {reason}", RuntimeWarning, stacklevel=2)
        return None
