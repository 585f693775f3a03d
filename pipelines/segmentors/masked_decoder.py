"""Mask2Former's transformer decoder: queries that look where their masks are (Mask2Former, section 3.2.1).

The weights are transformers' modules; attention is torch's, without weights kept or masks repeated for each head.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu, scaled_dot_product_attention
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerAttention,
    Mask2FormerMaskedAttentionDecoder,
    Mask2FormerMaskedAttentionDecoderLayer,
    Mask2FormerTransformerModule,
)

from pipelines.segmentors.dropout import dropped
from pipelines.segmentors.output import SegmentorOutput
from pipelines.segmentors.places import Places
from pipelines.segmentors.remembering import Remembering
from pipelines.segmentors.resize import resize_bilinear


def decode(
    module: Mask2FormerTransformerModule,
    levels: Sequence[Tensor],
    mask_features: Tensor,
    places: Places,
    remembering: Remembering,
) -> SegmentorOutput:
    """Queries and masks of the initial queries and of every layer.

    Args:
        levels: L maps B×D×h×w, the coarsest first; layer l looks at level l mod L.
        mask_features: B×D×H'×W'.
    """
    batch, decoder = len(mask_features), module.decoder
    memories = [
        project(own).flatten(2).transpose(1, 2) + embedding  # B×hw×D
        for project, own, embedding in zip(module.input_projections, levels, module.level_embed.weight, strict=True)
    ]
    own_places = module.queries_embedder.weight  # K×D
    states = module.queries_features.weight.expand(batch, -1, -1)
    queries, masks = [decoder.layernorm(states)], []
    masks.append(_masks(decoder, queries[-1], mask_features))
    for number, layer in enumerate(decoder.layers):
        level = number % len(levels)
        seen = _where_to_look(masks[-1], levels[level].shape[-2:])
        states = remembering.layer(_layer, layer, states, own_places, memories[level], places.sines[level], seen)
        queries.append(decoder.layernorm(states))
        masks.append(_masks(decoder, queries[-1], mask_features))
    return SegmentorOutput(queries=queries, mask_logits=masks)


def _masks(decoder: Mask2FormerMaskedAttentionDecoder, queries: Tensor, mask_features: Tensor) -> Tensor:
    """Mask logits B×K×H'×W' of queries B×K×D."""
    return torch.einsum("bkd,bdhw->bkhw", decoder.mask_predictor.mask_embedder(queries), mask_features)


@torch.no_grad()
def _where_to_look(mask_logits: Tensor, size: Sequence[int]) -> Tensor:
    """bool, B×1×K×hw: the foreground of each query's mask, or everywhere where it has none."""
    seen = resize_bilinear(mask_logits, size).flatten(2) >= 0
    return (seen | ~seen.any(-1, keepdim=True))[:, None]


def _layer(
    layer: Mask2FormerMaskedAttentionDecoderLayer,
    states: Tensor,
    own: Tensor,
    memory: Tensor,
    places: Tensor,
    seen: Tensor,
) -> Tensor:
    """A layer on queries B×K×D: masked attention to a level, attention among queries, feed-forward."""
    rate = layer.dropout if layer.training else 0.0
    attended = _cross_attention(layer.cross_attn, states + own, memory + places, memory, seen, rate)
    states = layer.cross_attn_layer_norm(states + dropped(attended, rate))
    attended = _self_attention(layer.self_attn, states + own, states, rate)
    states = layer.self_attn_layer_norm(states + dropped(attended, rate))
    inner = dropped(relu(layer.fc1(states), inplace=True), rate)
    return layer.final_layer_norm(states + dropped(layer.fc2(inner), rate))


def _cross_attention(
    attention: nn.MultiheadAttention, queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor, rate: float
) -> Tensor:
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    q, k, v = (
        _heads(linear(given, weight, bias), attention.num_heads)
        for given, weight, bias in zip((queries, keys, values), weights, biases, strict=True)
    )
    return attention.out_proj(_joined(scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=rate)))


def _self_attention(attention: Mask2FormerAttention, queries: Tensor, values: Tensor, rate: float) -> Tensor:
    q, k = (_heads(project(queries), attention.num_heads) for project in (attention.q_proj, attention.k_proj))
    v = _heads(attention.v_proj(values), attention.num_heads)
    return attention.out_proj(_joined(scaled_dot_product_attention(q, k, v, dropout_p=rate)))


def _heads(vectors: Tensor, heads: int) -> Tensor:
    """B×N×D → B×H×N×D/H."""
    return vectors.unflatten(-1, (heads, -1)).transpose(1, 2)


def _joined(of_heads: Tensor) -> Tensor:
    """B×H×N×D/H → B×N×D."""
    return of_heads.transpose(1, 2).flatten(2)
