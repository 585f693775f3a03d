"""MaskFormer (Cheng et al., 2021) without its classifier, on transformers' pixel decoder and transformer."""

import torch
from torch import Tensor, nn
from transformers import DetrConfig, MaskFormerConfig, MaskFormerModel

from pipelines.segmentors.backbone import Backbone
from pipelines.segmentors.huggingface import check_widths, stand_in_backbone
from pipelines.segmentors.maskformer_settings import MaskFormerSettings
from pipelines.segmentors.output import SegmentorOutput


class MaskFormer(nn.Module):
    """Images → queries and masks of every decoder layer.

    Args:
        settings: widths and depths; `hidden_dim` must be a multiple of 32 and of `heads`.
        backbone: takes the place of transformers' own.
    """

    def __init__(self, settings: MaskFormerSettings, backbone: Backbone) -> None:
        super().__init__()
        check_widths(settings.hidden_dim, settings.heads)
        width = settings.hidden_dim
        stand_in = stand_in_backbone(backbone.channels)
        config = MaskFormerConfig(
            backbone_config=stand_in,
            fpn_feature_size=width,
            mask_feature_size=width,
            decoder_config=DetrConfig(
                backbone_config=stand_in,
                d_model=width,
                num_queries=settings.queries,
                decoder_layers=settings.decoder_layers,
                decoder_ffn_dim=settings.feedforward_dim,
                decoder_attention_heads=settings.heads,
                dropout=settings.dropout,
            ),
        )
        self.model = MaskFormerModel(config)
        self.model.pixel_level_module.encoder = backbone
        self.mask_embedder = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, images: Tensor) -> SegmentorOutput:
        """Segments images.

        Args:
            images: uint8, B×3×H×W, RGB; H and W multiples of 32.

        Returns:
            `decoder_layers` entries; `queries[l]` are the vectors that `mask_logits[l]` were made of.
        """
        output = self.model(pixel_values=images, output_hidden_states=True)
        # The states are the zeros at the start, then every layer's output; only the last is layer-normed already.
        _, *inner, last = output.transformer_decoder_hidden_states
        norm = self.model.transformer_module.decoder.layernorm
        queries = [*(norm(states) for states in inner), last]  # B×K×D each
        pixels = output.pixel_decoder_last_hidden_state  # B×D×H/4×W/4
        masks = [torch.einsum("bkd,bdhw->bkhw", self.mask_embedder(states), pixels) for states in queries]
        return SegmentorOutput(queries=queries, mask_logits=masks)
