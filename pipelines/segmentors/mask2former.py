"""Mask2Former (Cheng et al., 2022) without its classifier, as transformers implements it."""

from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerModel

from pipelines.segmentors.backbone import STRIDES, Backbone
from pipelines.segmentors.huggingface import check_widths, quiet_transformers, stand_in_backbone
from pipelines.segmentors.mask2former_settings import Mask2FormerSettings
from pipelines.segmentors.output import SegmentorOutput


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
        # transformers takes the dropout for the chance of skipping whole decoder layers as well; the paper has none.
        self.model.transformer_module.decoder.layerdrop = 0.0

    def forward(self, images: Tensor) -> SegmentorOutput:
        """Segments images.

        Args:
            images: uint8, B×3×H×W, RGB; H and W multiples of 32.

        Returns:
            `decoder_layers` + 1 entries: the first is of the initial queries, before any layer (its queries are equal
            for all images), entry l of layer l; `queries[l]` are the vectors that `mask_logits[l]` were made of.
        """
        output = self.model(pixel_values=images, output_hidden_states=True)
        return SegmentorOutput(
            queries=[states.transpose(0, 1) for states in output.transformer_decoder_intermediate_states],  # K×B×D
            mask_logits=list(output.masks_queries_logits),
        )
