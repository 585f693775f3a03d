"""How a format lays out backbones and segmentors."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pipelines.segmentors.foreign.table import Rows, Table

PIXELS, TRANSFORMER = "model.pixel_level_module.decoder", "model.transformer_module"
"""Where the pixel decoder and the decoder of queries lie in transformers' models, whose names ours are."""

ENCODER = "model.pixel_level_module.encoder"

DEFORMABLE = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
"""The layers of deformable attention, which everybody calls alike."""


@dataclass(frozen=True)
class Statistics:
    """How images were normalised before they met the weights.

    Attributes:
        mean, std: of red, green and blue in [0, 1].
        bgr: the stem takes blue first.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool = False


@dataclass(frozen=True)
class BackboneLayout:
    """A backbone's names.

    Attributes:
        name: of the format, in words.
        holds: whether a set of names, those before the backbone's own left off, is of this layout.
        rows: theirs and timm's, where they differ.
        earlier: spells a name of an earlier version as `rows` have it.
        left: what their names begin with that no backbone needs.
    """

    name: str
    holds: Callable[[Iterable[str]], bool]
    rows: Rows = ()
    earlier: Callable[[str], str] = str
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class SegmentorLayout:
    """A whole segmentor's names.

    Attributes:
        name: of the format, in words.
        backbone: what the names of its backbone begin with.
        heads: what the names of everything else that a segmentor needs begin with.
        kinds: kind of ours → what only such a file's names begin with, and its table.
        classifier: the bias of its class head, which has an entry more than there are classes.
        left: what names begin with that no segmentor of ours needs.
        earlier: spells a name of an earlier version as the tables have it.
    """

    name: str
    backbone: tuple[str, ...]
    heads: tuple[str, ...]
    kinds: Mapping[str, tuple[str, Table]]
    classifier: str
    left: tuple[str, ...] = ()
    earlier: Callable[[str], str] = str

    def kind_of(self, names: Iterable[str]) -> str | None:
        """The kind of segmentor that the names are of, if it is one of ours."""
        names = [self.earlier(name) for name in names]
        return next(
            (kind for kind, (mark, _) in self.kinds.items() if any(name.startswith(mark) for name in names)), None
        )
