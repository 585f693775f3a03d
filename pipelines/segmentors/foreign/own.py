"""Names of our own segmentors, as train-con leaves them in a run."""

from typing import Final

from pipelines.segmentors.foreign.layout import ENCODER, SegmentorLayout
from pipelines.segmentors.foreign.table import Table

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
