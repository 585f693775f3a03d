"""Names of our own segmentors, as train-con leaves them in a run, their batch norms frozen or not.

A frozen norm is y = x·s + t: scale and shift of each channel, C×1×1, in which its statistics are folded.
"""

from collections.abc import Iterable
from typing import Final

from pipelines.segmentors.foreign.layout import ENCODER, BackboneLayout, SegmentorLayout
from pipelines.segmentors.foreign.table import Table

SCALE, SHIFT = ".scale", ".shift"


def _is_frozen(names: Iterable[str]) -> bool:
    known = set(names)
    return any(f"{name.removesuffix(SHIFT)}{SCALE}" in known for name in known if name.endswith(SHIFT))


FROZEN: Final = BackboneLayout(
    name="concat, with frozen norms",
    holds=_is_frozen,
    earlier=lambda name: name.replace(SCALE, ".weight").replace(SHIFT, ".bias"),
)

SEGMENTORS: Final = SegmentorLayout(
    name="concat",
    backbone=(f"{ENCODER}.net.",),
    heads=("model.", "mask_embedder."),
    kinds={
        "mask2former": ("model.transformer_module.queries_features.", Table(same=("model.",))),
        "maskformer": ("model.transformer_module.input_projection.", Table(same=("model.", "mask_embedder."))),
    },
    classifier="",
    left=("head.", f"{ENCODER}.mean", f"{ENCODER}.std"),
    earlier=lambda name: name.removeprefix("segmentor."),
)
