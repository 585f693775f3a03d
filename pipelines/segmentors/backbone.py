"""The backbone: a timm feature extractor with its normalisation, and the loading of its weights."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from pipelines.base.errors import ConcatError
from pipelines.segmentors.foreign.backbones import Found, find_backbone
from pipelines.segmentors.origin import check_timm_tag, read_weights
from pipelines.segmentors.weights_file import IMAGENET, weights_path

STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class BackboneFeatures:
    """What transformers' segmentation models expect of a backbone.

    Attributes:
        feature_maps: four maps B×C_i×H/s×W/s of strides s = 4, 8, 16, 32.
    """

    feature_maps: tuple[Tensor, ...]


class Backbone(nn.Module):
    """Normalises images and extracts their feature maps.

    Mean and standard deviation are part of the state dict, so that a checkpoint alone says how its input looks.

    Args:
        net: a timm feature extractor of four maps.
        channels: of the maps.
        mean: of the three channels, in [0, 1].
        std: of the three channels, in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, channels: list[int], mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.net = net
        self.channels = channels
        self.register_buffer("mean", torch.empty(3, 1, 1))
        self.register_buffer("std", torch.empty(3, 1, 1))
        self.normalise_by(mean, std)

    def normalise_by(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Sets mean and standard deviation of the three channels, in [0, 1]."""
        self.mean.copy_(torch.tensor(mean).view(3, 1, 1))
        self.std.copy_(torch.tensor(std).view(3, 1, 1))

    def forward(self, images: Tensor) -> BackboneFeatures:
        """Extracts feature maps.

        Args:
            images: uint8, B×3×H×W, RGB; H and W multiples of 32.

        Raises:
            ConcatError: H or W is no multiple of 32.
        """
        height, width = images.shape[-2:]
        if height % STRIDES[-1] or width % STRIDES[-1]:
            raise ConcatError(
                f"The sides of a segmentor's input must be multiples of {STRIDES[-1]} px, not {height}×{width}.",
                mend="Choose con.input.crop so, and pad images at inference.",
            )
        pixels = (images / 255 - self.mean) / self.std
        # Convolutions keep this layout; a training step of the small extractor on CPU takes a sixth less time.
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return BackboneFeatures(feature_maps=tuple(self.net(pixels)))


def build_backbone(name: str, weights: str, *, load_weights: bool = True) -> Backbone:
    """Builds a backbone and loads its weights.

    Args:
        name: timm name, such as `resnet50`, `resnet101c`, `test_resnet`, optionally with a tag (`resnet50.tv_in1k`).
        weights: `imagenet` (timm's ImageNet-1k classifier; the only choice that may use the network), `micrococo`
            (shipped), `none` (random), or the path of a state dict of timm, torchvision, Detectron2, MMDetection or
            transformers, alone or within a larger network (.safetensors, .pth, .pkl, transformers' folder).
        load_weights: False leaves all at random, for a caller that loads a checkpoint afterwards.

    Raises:
        ConcatError: no such architecture, its maps have other strides, or the weights are missing or do not fit.
        ProtocolError: the weights come from a CLIP image tower.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3) or ["resnet50", "resnet101c"]
        raise ConcatError(f"timm knows no backbone {name!r}.", mend=f"Names like it: {', '.join(near)}.")
    check_timm_tag(name, weights)
    net = _download(name) if load_weights and weights == IMAGENET else _create(name, pretrained=False)
    mean, std = _timm_statistics(net)
    path = weights_path(weights)
    if load_weights and path is not None:
        held, metadata = read_weights(name, path)
        found = find_backbone(held)
        _load_features(net, found, path)
        if found.statistics is not None:
            mean, std = found.statistics.mean, found.statistics.std
        mean, std = metadata.image_mean or mean, metadata.image_std or std
    return Backbone(net, _feature_info(net).channels(), mean, std)


def _create(name: str, *, pretrained: bool) -> nn.Module:
    try:
        net: nn.Module = timm.create_model(
            name, pretrained=pretrained, features_only=True, out_indices=tuple(range(-len(STRIDES), 0))
        )
    except (AssertionError, IndexError, TypeError, AttributeError):
        strides: tuple[int, ...] = ()
    else:
        strides = tuple(_feature_info(net).reduction())
    if strides != STRIDES or str(getattr(net, "output_fmt", "NCHW")).split(".")[-1] != "NCHW":
        raise ConcatError(
            f"The backbone {name!r} does not yield feature maps B×C×H×W of strides 4, 8, 16 and 32.",
            mend="Choose a convolutional one, such as resnet50.",
        )
    return net


def _download(name: str) -> nn.Module:
    try:
        return _create(name, pretrained=True)
    except ConcatError:
        raise
    except Exception as error:  # hub, proxy, cache and format errors share no base class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConcatError(
            f"The ImageNet weights of {name!r} could not be had: {reason}",
            mend="Set con.segmentor.backbone_weights to the path of a weights file, or to none.",
        ) from error


def _feature_info(net: nn.Module) -> Any:
    return net.feature_info


def _timm_statistics(net: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    config: dict[str, Any] = net.pretrained_cfg  # type: ignore[assignment]
    return tuple(config["mean"]), tuple(config["std"])


def _load_features(net: nn.Module, found: Found, path: Path) -> None:
    """Loads a classifier's state dict into a feature extractor, strictly but for the classifier itself."""
    mend = "The file must hold the weights of the timm model that con.segmentor.backbone names."
    # timm renames stages.0 to stages_0 where it cuts a model for its features.
    given = {key.replace(".", "_"): (key, value) for key, value in found.tensors.items()}
    wanted = {key.replace(".", "_"): key for key in net.state_dict()}
    needed = {key for key in wanted if not key.endswith("num_batches_tracked")}  # which not every format keeps
    missing, surplus = sorted(needed - given.keys()), sorted(given.keys() - wanted.keys())
    if missing or surplus:
        alien = "" if missing else found.origin.get(given[surplus[0]][0], surplus[0])
        what = f"lacks {wanted[missing[0]]!r}" if missing else f"holds {alien!r}, which the backbone has not"
        raise ConcatError(f"The weights do not fit the backbone: the file {what}.", file=path, mend=mend)
    try:
        net.load_state_dict({wanted[key]: value for key, (_, value) in given.items()}, strict=False)
    except RuntimeError as error:
        raise ConcatError(
            f"The weights do not fit the backbone: {str(error).splitlines()[-1].strip()}", file=path, mend=mend
        ) from None
