"""Mask2Former's pixel decoder: deformable attention over three levels, then a finer map (Mask2Former, section 3.2).

The weights are transformers' modules; what is done with them stands here, since that form of the attention remembers
six times as much and asks the device in every layer whether all is finite.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPixelDecoderEncoderLayer,
)

from pipelines.segmentors.deformable_attention import Pyramid, deformable_attention
from pipelines.segmentors.dropout import dropped
from pipelines.segmentors.places import Places
from pipelines.segmentors.remembering import Remembering, cast_once
from pipelines.segmentors.resize import resize_bilinear


def coarse_maps(decoder: Mask2FormerPixelDecoder, maps: Sequence[Tensor]) -> list[Tensor]:
    """The levels that the encoder attends to, B×D×h×w, coarsest first, of four maps of strides 4, 8, 16, 32."""
    return [project(own) for project, own in zip(decoder.input_projections, reversed(maps), strict=False)]


def pixel_features(
    decoder: Mask2FormerPixelDecoder,
    maps: Sequence[Tensor],
    coarse: Sequence[Tensor],
    places: Places,
    remembering: Remembering,
) -> tuple[Tensor, list[Tensor]]:
    """Feature maps of the backbone → features of masks and of the decoder's levels.

    Args:
        maps: four maps B×C_i×h×w of strides 4, 8, 16, 32.
        coarse: what `coarse_maps` makes of them.

    Returns:
        mask features B×D×H/4×W/4; levels B×D×h×w of strides 32, 16, 8.
    """
    pyramid = places.pyramid
    tokens = torch.cat([own.flatten(2).transpose(1, 2) for own in coarse], 1)  # B×S×D
    where = [sine + level for sine, level in zip(places.sines, decoder.level_embed, strict=True)]
    own_place = torch.cat(where, 1)  # 1×S×D
    for layer in decoder.encoder.layers:
        tokens = remembering.layer(_encode, layer, tokens, own_place, pyramid, remembering)
    levels = [
        own.transpose(1, 2).unflatten(2, shape)
        for own, shape in zip(tokens.split([h * w for h, w in pyramid.shapes], 1), pyramid.shapes, strict=True)
    ]
    finer = levels[-1]
    for idx, own in enumerate(reversed(maps[: decoder.num_fpn_levels])):
        lateral, output = decoder.lateral_convolutions[idx], decoder.output_convolutions[idx]
        finer = remembering.layer(_refine, lateral, output, own, finer)
    return decoder.mask_projection(finer), levels


def _encode(
    layer: Mask2FormerPixelDecoderEncoderLayer,
    tokens: Tensor,
    own_place: Tensor,
    pyramid: Pyramid,
    remembering: Remembering,
) -> Tensor:
    """A layer of the encoder on tokens B×S×D."""
    attention, rate = layer.self_attn, layer.dropout if layer.training else 0.0
    heads, levels, points = attention.n_heads, attention.n_levels, attention.n_points
    queries = cast_once(tokens + own_place)
    attended = deformable_attention(
        attention.value_proj(tokens).unflatten(-1, (heads, -1)),
        attention.sampling_offsets(queries).unflatten(-1, (heads, levels, points, 2)),
        attention.attention_weights(queries).unflatten(-1, (heads, levels * points)),
        pyramid,
    )
    attended = attention.output_proj(attended)
    tokens = layer.self_attn_layer_norm(tokens + dropped(attended, rate))
    fed = remembering.wide(_feed_forward, layer, cast_once(tokens), rate)
    return layer.final_layer_norm(tokens + dropped(fed, rate))


def _feed_forward(layer: Mask2FormerPixelDecoderEncoderLayer, tokens: Tensor, rate: float) -> Tensor:
    return layer.fc2(dropped(relu(layer.fc1(tokens), inplace=True), rate))


def _refine(lateral: nn.Module, output: nn.Sequential, own: Tensor, coarser: Tensor) -> Tensor:
    """The next finer map: the backbone's, and the coarser one made larger."""
    convolution, norm, _ = output
    own = lateral(own)
    own = own + resize_bilinear(coarser.to(own.dtype), own.shape[-2:])
    return relu(norm(convolution(own)), inplace=True)
