"""How Mask2Former's pixel decoder starts in the original, where transformers fills it otherwise.

transformers draws these weights from a normal of 0.02; the original (MSDeformAttnPixelDecoder) fills by fan-in and
fan-out.
"""

from torch import nn
from transformers.models.mask2former.modeling_mask2former import Mask2FormerPixelDecoder


def fill_as_original(decoder: Mask2FormerPixelDecoder) -> None:
    """Xavier for projections and feed-forward layers; for convolutions of the finer maps Caffe2's, std 1/√fan_in."""
    for projection in decoder.input_projections:
        nn.init.xavier_uniform_(projection[0].weight)
        nn.init.zeros_(projection[0].bias)
    for layer in decoder.encoder.layers:
        nn.init.xavier_uniform_(layer.fc1.weight)
        nn.init.xavier_uniform_(layer.fc2.weight)
    for block in (*decoder.lateral_convolutions, *decoder.output_convolutions):
        nn.init.kaiming_uniform_(block[0].weight, a=1)
    nn.init.kaiming_uniform_(decoder.mask_projection.weight, a=1)
    nn.init.zeros_(decoder.mask_projection.bias)
