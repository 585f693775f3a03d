"""What transformers' segmentation models need to stand on a backbone of ours, offline and in silence."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from transformers import ResNetConfig
from transformers.utils import logging

from pipelines.base.errors import ConcatError

_GROUPS = 32  # of the pixel decoders' group norms


def check_widths(hidden_dim: int, heads: int) -> None:
    """Refuses a width that group norms or attention heads do not divide.

    Raises:
        ConcatError: see above.
    """
    if hidden_dim % _GROUPS or hidden_dim % heads:
        raise ConcatError(
            f"con.segmentor.hidden_dim is {hidden_dim}; it must be a multiple of {_GROUPS} and of the {heads} heads.",
            mend="Use, for example, 64, 128 or 256 with 4 or 8 heads.",
        )


def stand_in_backbone(channels: Sequence[int]) -> ResNetConfig:
    """A backbone of `channels` that transformers can build without the network; ours then takes its place."""
    return ResNetConfig(
        embedding_size=channels[0],
        hidden_sizes=list(channels),
        depths=[1] * len(channels),
        out_features=[f"stage{stage + 1}" for stage in range(len(channels))],
    )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences transformers' remark that a backbone other than Swin is not supported (it is)."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
