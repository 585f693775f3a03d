"""A ResNet's last stage with dilated blocks (DeepLab's grid of 1, 2, 4, the base of zsseg and DeOP); strides stay."""

from collections.abc import Sequence

from torch import nn

from pipelines.base.errors import ConcatError


def dilate_last_stage(net: nn.Module, rates: Sequence[int]) -> None:
    """Spreads the 3×3 convolution of each block of the last stage; weights stay as they are.

    Raises:
        ConcatError: the backbone is no ResNet, or its last stage has another number of blocks.
    """
    stage = getattr(net, "layer4", None)
    blocks = list(stage.children()) if isinstance(stage, nn.Module) else []
    if len(blocks) != len(rates) or not all(isinstance(getattr(block, "conv2", None), nn.Conv2d) for block in blocks):
        raise ConcatError(
            f"The backbone has no last stage of {len(rates)} ResNet blocks to dilate.",
            mend="Leave con.segmentor.last_stage_dilation empty, or use a ResNet such as resnet50 or resnet101c.",
        )
    for block, rate in zip(blocks, rates, strict=True):
        convolution = block.conv2
        assert isinstance(convolution, nn.Conv2d)
        convolution.dilation = convolution.padding = (rate, rate)
