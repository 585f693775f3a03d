"""MMDetection 3's names: of backbones with a deep stem, and of MaskFormer and Mask2Former."""

from typing import Final

from pipelines.segmentors.foreign.layout import DEFORMABLE, PIXELS, TRANSFORMER, BackboneLayout, SegmentorLayout
from pipelines.segmentors.foreign.table import Rows, Table, below
from pipelines.segmentors.foreign.torchvision import CLASSIFIER

DEEP_STEM: Final = BackboneLayout(
    name="MMDetection, with a deep stem",
    holds=lambda names: {"stem.0.weight", "layer1.0.conv1.weight"} <= set(names),
    rows=(
        *((f"stem.{k}", f"conv1.{k}") for k in (0, 1, 3, 4, 6)),
        ("stem.7", "bn1"),
    ),
    left=CLASSIFIER,
)

_HEAD: Final = "panoptic_head"
_DECODER: Final = f"{_HEAD}.pixel_decoder"
_LAYER: Final = f"{_HEAD}.transformer_decoder.layers.{{i}}"
_OUR_LAYER: Final = f"{TRANSFORMER}.decoder.layers.{{i}}"
_OUR_MASKS: Final = f"{TRANSFORMER}.decoder.mask_predictor.mask_embedder"
_FEEDFORWARD: Final[Rows] = (("ffn.layers.0.0", "fc1"), ("ffn.layers.1", "fc2"))
_PIXEL_LAYER: Final[Rows] = (
    *((f"self_attn.{x}", f"self_attn.{x}") for x in DEFORMABLE),
    ("norms.0", "self_attn_layer_norm"),
    *_FEEDFORWARD,
    ("norms.1", "final_layer_norm"),
)

_MASK2FORMER: Final = Table(
    rows=(
        (f"{_DECODER}.input_convs.{{i}}.conv", f"{PIXELS}.input_projections.{{i}}.0"),
        (f"{_DECODER}.input_convs.{{i}}.gn", f"{PIXELS}.input_projections.{{i}}.1"),
        (f"{_DECODER}.level_encoding.weight", f"{PIXELS}.level_embed"),
        *below(f"{_DECODER}.encoder.layers.{{i}}", f"{PIXELS}.encoder.layers.{{i}}", _PIXEL_LAYER),
        (f"{_DECODER}.lateral_convs.0.conv", f"{PIXELS}.adapter_1.0"),
        (f"{_DECODER}.lateral_convs.0.gn", f"{PIXELS}.adapter_1.1"),
        (f"{_DECODER}.output_convs.0.conv", f"{PIXELS}.layer_1.0"),
        (f"{_DECODER}.output_convs.0.gn", f"{PIXELS}.layer_1.1"),
        (f"{_DECODER}.mask_feature", f"{PIXELS}.mask_projection"),
        *below(
            _LAYER,
            _OUR_LAYER,
            (
                ("cross_attn.attn", "cross_attn"),
                ("cross_attn.attn.out_proj", "cross_attn.out_proj"),
                ("norms.0", "cross_attn_layer_norm"),
                ("self_attn.attn.out_proj", "self_attn.out_proj"),
                ("norms.1", "self_attn_layer_norm"),
                *_FEEDFORWARD,
                ("norms.2", "final_layer_norm"),
            ),
        ),
        (f"{_HEAD}.transformer_decoder.post_norm", f"{TRANSFORMER}.decoder.layernorm"),
        (f"{_HEAD}.query_embed", f"{TRANSFORMER}.queries_embedder"),
        (f"{_HEAD}.query_feat", f"{TRANSFORMER}.queries_features"),
        (f"{_HEAD}.level_embed", f"{TRANSFORMER}.level_embed"),
        *((f"{_HEAD}.mask_embed.{2 * k}", f"{_OUR_MASKS}.{k}.0") for k in range(3)),
    ),
    packed=((f"{_LAYER}.self_attn.attn", f"{_OUR_LAYER}.self_attn"),),
)

_MASKFORMER: Final = Table(
    rows=(
        (f"{_DECODER}.last_feat_conv.conv", f"{PIXELS}.fpn.stem.0"),
        (f"{_DECODER}.last_feat_conv.gn", f"{PIXELS}.fpn.stem.1"),
        *(
            row
            for k in (0, 1, 2)
            for row in (
                (f"{_DECODER}.lateral_convs.{k}.conv", f"{PIXELS}.fpn.layers.{2 - k}.proj.0"),
                (f"{_DECODER}.lateral_convs.{k}.gn", f"{PIXELS}.fpn.layers.{2 - k}.proj.1"),
                (f"{_DECODER}.output_convs.{k}.conv", f"{PIXELS}.fpn.layers.{2 - k}.block.0"),
                (f"{_DECODER}.output_convs.{k}.gn", f"{PIXELS}.fpn.layers.{2 - k}.block.1"),
            )
        ),
        (f"{_DECODER}.mask_feature", f"{PIXELS}.mask_projection"),
        *below(
            _LAYER,
            _OUR_LAYER,
            (
                ("self_attn.attn.out_proj", "self_attn.out_proj"),
                ("norms.0", "self_attn_layer_norm"),
                ("cross_attn.attn.out_proj", "encoder_attn.out_proj"),
                ("norms.1", "encoder_attn_layer_norm"),
                *_FEEDFORWARD,
                ("norms.2", "final_layer_norm"),
            ),
        ),
        (f"{_HEAD}.transformer_decoder.post_norm", f"{TRANSFORMER}.decoder.layernorm"),
        (f"{_HEAD}.query_embed", f"{TRANSFORMER}.queries_embedder"),
        (f"{_HEAD}.decoder_input_proj", f"{TRANSFORMER}.input_projection"),
        *((f"{_HEAD}.mask_embed.{2 * k}", f"mask_embedder.{2 * k}") for k in range(3)),
    ),
    packed=(
        (f"{_LAYER}.self_attn.attn", f"{_OUR_LAYER}.self_attn"),
        (f"{_LAYER}.cross_attn.attn", f"{_OUR_LAYER}.encoder_attn"),
    ),
)

SEGMENTORS: Final = SegmentorLayout(
    name="MMDetection",
    backbone=("backbone.",),
    heads=(f"{_HEAD}.",),
    kinds={
        "mask2former": (f"{_HEAD}.query_feat.", _MASK2FORMER),
        "maskformer": (f"{_HEAD}.transformer_decoder.", _MASKFORMER),
    },
    classifier=f"{_HEAD}.cls_embed.bias",
    left=(f"{_HEAD}.cls_embed.", f"{_HEAD}.loss_", "data_preprocessor.", "panoptic_fusion_head."),
)
