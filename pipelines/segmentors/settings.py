"""What every segmentor is told, whatever its kind."""

from typing import Literal

from pipelines.base.parts import PartSettings
from pipelines.base.settings import name_or_path, setting


class SegmentorSettings(PartSettings):
    """The extractor, without its classifier."""

    backbone: str = setting("resnet50", "timm name of the backbone.")
    backbone_weights: str = name_or_path(
        "imagenet", "imagenet (timm's ImageNet-1k classifier), micrococo (seen-only, shipped), none, or a path."
    )
    weights: str = name_or_path(
        "",
        "Weights of a whole segmentor to start from, backbone included: a file or folder of Detectron2, MMDetection 3, "
        "PADing or transformers, or a name of the Hugging Face hub; empty: none.",
        folders=True,
    )
    batch_norm: Literal["frozen", "trained"] = setting(
        "frozen", "The backbone's batch norms: frozen, as in the originals, or trained with each batch's statistics."
    )
    last_stage_dilation: tuple[int, ...] = setting(
        (), "Dilation of each block of a ResNet's last stage, such as 1, 2, 4 (DeepLab's grid); empty: none."
    )
    hidden_dim: int = setting(256, "Width D of queries and pixel features.", ge=8)
    queries: int = setting(100, "Number K of queries.", ge=1)
