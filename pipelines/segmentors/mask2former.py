"""Mask2Former (Cheng et al., 2022) without its classifier, as transformers implements it."""

from dataclasses import replace

from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerModel

from pipelines.segmentors.backbone import STRIDES, Backbone
from pipelines.segmentors.huggingface import check_widths, quiet_transformers, stand_in_backbone
from pipelines.segmentors.initialisation import fill_as_original
from pipelines.segmentors.mask2former_settings import Mask2FormerSettings
from pipelines.segmentors.masked_decoder import decode
from pipelines.segmentors.output import SegmentorOutput
from pipelines.segmentors.pixel_decoder import coarse_maps, pixel_features
from pipelines.segmentors.places import PlacesOf
from pipelines.segmentors.remembering import Remembering


class Mask2Former(nn.Module):
    """Images → queries and masks of the initial queries and of every decoder layer.

    Args:
        settings: widths and depths; `hidden_dim` must be a multiple of 32 and of `heads`.
        backbone: takes the place of transformers' own.
    """

    def __init__(self, settings: Mask2FormerSettings, backbone: Backbone) -> None:
        super().__init__()
        check_widths(settings.hidden_dim, settings.heads)
        with quiet_transformers():
            config = Mask2FormerConfig(
                backbone_config=stand_in_backbone(backbone.channels),
                feature_strides=list(STRIDES),
                feature_size=settings.hidden_dim,
                mask_feature_size=settings.hidden_dim,
                hidden_dim=settings.hidden_dim,
                encoder_feedforward_dim=settings.encoder_feedforward_dim,
                dim_feedforward=settings.feedforward_dim,
                encoder_layers=settings.encoder_layers,
                decoder_layers=settings.decoder_layers + 1,  # transformers counts the initial prediction as a layer
                num_attention_heads=settings.heads,
                num_queries=settings.queries,
                dropout=settings.dropout,
            )
            self.model = Mask2FormerModel(config)
        self.model.pixel_level_module.encoder = backbone
        if settings.initialisation == "original":
            fill_as_original(self.model.pixel_level_module.decoder)
        self.remembering = Remembering(dropout=settings.dropout > 0)
        self.places_of = PlacesOf()

    def forward(self, images: Tensor) -> SegmentorOutput:
        """Segments images.

        Args:
            images: uint8, B×3×H×W, RGB; H and W multiples of 32.

        Returns:
            `decoder_layers` + 1 entries: the first is of the initial queries, before any layer (its queries are equal
            for all images), entry l of layer l; `queries[l]` are the vectors that `mask_logits[l]` were made of.
        """
        level = self.model.pixel_level_module
        maps = level.encoder(images).feature_maps
        coarse = coarse_maps(level.decoder, maps)
        places = self.places_of(self.model, [(own.shape[-2], own.shape[-1]) for own in coarse], images.device)
        mask_features, levels = pixel_features(level.decoder, maps, coarse, places, self.remembering)
        return decode(self.model.transformer_module, levels, mask_features, places, self.remembering)

    def checkpoint_layers(self) -> None:
        """From now on remembers what goes into each layer alone, and computes the rest again when it is wanted."""
        self.remembering = replace(self.remembering, checkpointing=True)
