"""Detectron2's names: of backbones, and of MaskFormer and Mask2Former, which PADing's are too.

Files of the zoos hold numpy arrays (.pkl), files of trainings tensors (.pth). The segmentors take RGB, normalised as
torchvision's networks; so do backbones that were converted from torchvision (`__author__` says so). Those of MSRA take
BGR, less a mean, and their strides lie in the 1×1 convolutions.
"""

import re
from collections.abc import Iterable
from typing import Final

from pipelines.segmentors.foreign.layout import DEFORMABLE, PIXELS, TRANSFORMER, BackboneLayout, SegmentorLayout
from pipelines.segmentors.foreign.table import Rows, Table, below

_STAGES: Final[Rows] = tuple(
    row
    for stage in (1, 2, 3, 4)
    for theirs, ours in ((f"res{stage + 1}.{{i}}", f"layer{stage}.{{i}}"),)
    for row in (
        *((f"{theirs}.conv{k}", f"{ours}.conv{k}") for k in (1, 2, 3)),
        *((f"{theirs}.conv{k}.norm", f"{ours}.bn{k}") for k in (1, 2, 3)),
        (f"{theirs}.shortcut", f"{ours}.downsample.0"),
        (f"{theirs}.shortcut.norm", f"{ours}.downsample.1"),
    )
)
_STEM: Final[Rows] = (("stem.conv1", "conv1"), ("stem.conv1.norm", "bn1"))
_DEEP_STEM: Final[Rows] = (
    ("stem.conv1", "conv1.0"),
    ("stem.conv1.norm", "conv1.1"),
    ("stem.conv2", "conv1.3"),
    ("stem.conv2.norm", "conv1.4"),
    ("stem.conv3", "conv1.6"),
    ("stem.conv3.norm", "bn1"),
)
_CAFFE2_BLOCK: Final = {"branch1": "shortcut", "branch2a": "conv1", "branch2b": "conv2", "branch2c": "conv3"}
_CAFFE2_LEAF: Final = {
    "w": "weight", "b": "bias", "bn_s": "norm.weight", "bn_b": "norm.bias", "bn_gamma": "norm.weight",
    "bn_beta": "norm.bias", "bn_rm": "norm.running_mean", "bn_riv": "norm.running_var",
    "bn_running_mean": "norm.running_mean", "bn_running_var": "norm.running_var",
}  # fmt: skip
_CAFFE2_NAME: Final = re.compile(r"(?:(?:res_)?(conv1)|res(\d)_(\d+)_(branch\w+?))_(w|b|bn_\w+)")


def _caffe2(name: str) -> str:
    """Detectron2's spelling of a name of Caffe2, such as res2_0_branch2a_bn_s."""
    found = _CAFFE2_NAME.fullmatch(name)
    if found is None:
        return name
    stem, stage, block, branch, leaf = found.groups()
    module = "stem.conv1" if stem else f"res{stage}.{block}.{_CAFFE2_BLOCK.get(branch, branch)}"
    return f"{module}.{_CAFFE2_LEAF.get(leaf, leaf)}"


def _is_detectron2(names: Iterable[str]) -> bool:
    return bool({"stem.conv1.weight", "res2.0.conv1.weight"} & set(names))


BACKBONES: Final = (
    BackboneLayout(
        name="Detectron2 (Caffe2's names)",
        holds=lambda names: bool({"conv1_w", "res2_0_branch2a_w"} & set(names)),
        rows=_STEM + _STAGES,
        earlier=_caffe2,
        left=("fc", "pred_", "stem.conv1.bias"),
    ),
    BackboneLayout(
        name="Detectron2, with DeepLab's stem",
        holds=lambda names: _is_detectron2(names) and "stem.conv3.weight" in set(names),
        rows=_DEEP_STEM + _STAGES,
        left=("stem.fc.", "linear."),
    ),
    BackboneLayout(
        name="Detectron2",
        holds=_is_detectron2,
        rows=_STEM + _STAGES,
        left=("stem.fc.", "stem.conv1.bias", "fc1000.", "linear."),
    ),
)


_DECODER: Final = "sem_seg_head.pixel_decoder"
_PREDICTOR: Final = "sem_seg_head.predictor"
_OUR_LAYER: Final = f"{TRANSFORMER}.decoder.layers.{{i}}"


_PIXEL_LAYER: Final[Rows] = (
    *((f"self_attn.{x}", f"self_attn.{x}") for x in DEFORMABLE),
    ("norm1", "self_attn_layer_norm"),
    ("linear1", "fc1"),
    ("linear2", "fc2"),
    ("norm2", "final_layer_norm"),
)
_MASK2FORMER: Final = Table(
    rows=(
        (f"{_DECODER}.input_proj.{{i}}.{{j}}", f"{PIXELS}.input_projections.{{i}}.{{j}}"),
        (f"{_DECODER}.transformer.level_embed", f"{PIXELS}.level_embed"),
        *below(f"{_DECODER}.transformer.encoder.layers.{{i}}", f"{PIXELS}.encoder.layers.{{i}}", _PIXEL_LAYER),
        (f"{_DECODER}.mask_features", f"{PIXELS}.mask_projection"),
        (f"{_DECODER}.adapter_1", f"{PIXELS}.adapter_1.0"),
        (f"{_DECODER}.adapter_1.norm", f"{PIXELS}.adapter_1.1"),
        (f"{_DECODER}.layer_1", f"{PIXELS}.layer_1.0"),
        (f"{_DECODER}.layer_1.norm", f"{PIXELS}.layer_1.1"),
        *below(
            _PREDICTOR,
            _OUR_LAYER,
            (
                ("transformer_cross_attention_layers.{i}.multihead_attn", "cross_attn"),
                ("transformer_cross_attention_layers.{i}.multihead_attn.out_proj", "cross_attn.out_proj"),
                ("transformer_cross_attention_layers.{i}.norm", "cross_attn_layer_norm"),
                ("transformer_self_attention_layers.{i}.self_attn.out_proj", "self_attn.out_proj"),
                ("transformer_self_attention_layers.{i}.norm", "self_attn_layer_norm"),
                ("transformer_ffn_layers.{i}.linear1", "fc1"),
                ("transformer_ffn_layers.{i}.linear2", "fc2"),
                ("transformer_ffn_layers.{i}.norm", "final_layer_norm"),
            ),
        ),
        (f"{_PREDICTOR}.decoder_norm", f"{TRANSFORMER}.decoder.layernorm"),
        (f"{_PREDICTOR}.query_embed", f"{TRANSFORMER}.queries_embedder"),
        (f"{_PREDICTOR}.query_feat", f"{TRANSFORMER}.queries_features"),
        (f"{_PREDICTOR}.level_embed", f"{TRANSFORMER}.level_embed"),
        (f"{_PREDICTOR}.mask_embed.layers.{{i}}", f"{TRANSFORMER}.decoder.mask_predictor.mask_embedder.{{i}}.0"),
    ),
    packed=((f"{_PREDICTOR}.transformer_self_attention_layers.{{i}}.self_attn", f"{_OUR_LAYER}.self_attn"),),
)

_LAYER: Final = f"{_PREDICTOR}.transformer.decoder.layers.{{i}}"
_MASKFORMER: Final = Table(
    rows=(
        (f"{_DECODER}.layer_4", f"{PIXELS}.fpn.stem.0"),
        (f"{_DECODER}.layer_4.norm", f"{PIXELS}.fpn.stem.1"),
        *(
            row
            for k in (1, 2, 3)
            for row in (
                (f"{_DECODER}.adapter_{k}", f"{PIXELS}.fpn.layers.{3 - k}.proj.0"),
                (f"{_DECODER}.adapter_{k}.norm", f"{PIXELS}.fpn.layers.{3 - k}.proj.1"),
                (f"{_DECODER}.layer_{k}", f"{PIXELS}.fpn.layers.{3 - k}.block.0"),
                (f"{_DECODER}.layer_{k}.norm", f"{PIXELS}.fpn.layers.{3 - k}.block.1"),
            )
        ),
        (f"{_DECODER}.mask_features", f"{PIXELS}.mask_projection"),
        *below(
            _LAYER,
            _OUR_LAYER,
            (
                ("self_attn.out_proj", "self_attn.out_proj"),
                ("norm1", "self_attn_layer_norm"),
                ("multihead_attn.out_proj", "encoder_attn.out_proj"),
                ("norm2", "encoder_attn_layer_norm"),
                ("linear1", "fc1"),
                ("linear2", "fc2"),
                ("norm3", "final_layer_norm"),
            ),
        ),
        (f"{_PREDICTOR}.transformer.decoder.norm", f"{TRANSFORMER}.decoder.layernorm"),
        (f"{_PREDICTOR}.query_embed", f"{TRANSFORMER}.queries_embedder"),
        (f"{_PREDICTOR}.input_proj", f"{TRANSFORMER}.input_projection"),
        *((f"{_PREDICTOR}.mask_embed.layers.{k}", f"mask_embedder.{2 * k}") for k in range(3)),
    ),
    packed=(
        (f"{_LAYER}.self_attn", f"{_OUR_LAYER}.self_attn"),
        (f"{_LAYER}.multihead_attn", f"{_OUR_LAYER}.encoder_attn"),
    ),
)


def _earlier(name: str) -> str:
    """Names of the first version: the pixel decoder lay in the head itself, and query features were static queries."""
    head, _, rest = name.partition(".")
    if head == "sem_seg_head" and not rest.startswith(("pixel_decoder.", "predictor.")):
        name = f"{_DECODER}.{rest}"
    return name.replace(f"{_PREDICTOR}.static_query", f"{_PREDICTOR}.query_feat")


SEGMENTORS: Final = SegmentorLayout(
    name="Detectron2",
    backbone=("backbone.",),
    heads=("sem_seg_head.",),
    kinds={
        "mask2former": (f"{_PREDICTOR}.transformer_cross_attention_layers.", _MASK2FORMER),
        "maskformer": (f"{_PREDICTOR}.transformer.decoder.", _MASKFORMER),
    },
    classifier=f"{_PREDICTOR}.class_embed.bias",
    left=(f"{_PREDICTOR}.class_embed.", "criterion.", "pixel_mean", "pixel_std"),
    earlier=_earlier,
)
