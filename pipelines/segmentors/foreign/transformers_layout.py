"""transformers' names, which our segmentors have themselves but for their backbone; and those of its ResNet."""

from typing import Final

from pipelines.segmentors.foreign.layout import ENCODER, BackboneLayout, SegmentorLayout
from pipelines.segmentors.foreign.table import Table

RESNET: Final = BackboneLayout(
    name="transformers",
    holds=lambda names: "embedder.embedder.convolution.weight" in set(names),
    rows=(
        ("embedder.embedder.convolution", "conv1"),
        ("embedder.embedder.normalization", "bn1"),
        *(
            row
            for stage in (0, 1, 2, 3)
            for theirs, ours in ((f"encoder.stages.{stage}.layers.{{i}}", f"layer{stage + 1}.{{i}}"),)
            for row in (
                *((f"{theirs}.layer.{k}.convolution", f"{ours}.conv{k + 1}") for k in (0, 1, 2)),
                *((f"{theirs}.layer.{k}.normalization", f"{ours}.bn{k + 1}") for k in (0, 1, 2)),
                (f"{theirs}.shortcut.convolution", f"{ours}.downsample.0"),
                (f"{theirs}.shortcut.normalization", f"{ours}.downsample.1"),
            )
        ),
    ),
    left=("classifier.",),
)


def _of_whole_model(name: str) -> str:
    """A name as it is in the model with its heads: the model alone leaves off the first word."""
    return f"model.{name}" if name.startswith(("pixel_level_module.", "transformer_module.")) else name


def settled(name: str) -> str:
    """A name as transformers' files have it.

    From its fifth version on, the modules of MaskFormer's decoder, taken from DETR, are called otherwise than there.
    """
    return name.replace(".o_proj.", ".out_proj.").replace(".mlp.fc", ".fc")


SEGMENTORS: Final = SegmentorLayout(
    name="transformers",
    backbone=(f"{ENCODER}._backbone.", f"{ENCODER}."),
    heads=("model.", "mask_embedder."),
    kinds={
        "mask2former": ("model.transformer_module.queries_features.", Table(same=("model.",))),
        "maskformer": (
            "model.transformer_module.input_projection.",
            Table(rows=tuple((f"mask_embedder.{k}.0", f"mask_embedder.{2 * k}") for k in range(3)), same=("model.",)),
        ),
    },
    classifier="class_predictor.bias",
    left=("class_predictor.", "criterion."),
    earlier=_of_whole_model,
)
