"""How images were normalised for foreign weights: as their file says, else as their format does."""

import re
from typing import Any, Final

from pipelines.segmentors.foreign.layout import ENCODER, Statistics
from pipelines.segmentors.foreign.read import Held

Triple = tuple[float, float, float]

IMAGENET: Final = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_NUMBERS: Final = r"\[\s*([-\d.eE+]+)\s*,\s*([-\d.eE+]+)\s*,\s*([-\d.eE+]+)\s*,?\s*\]"
_LESS_A_MEAN: Final[Triple] = (103.530, 116.280, 123.675)
"""What Detectron2 subtracts of blue, green and red in 0 to 255 unless told otherwise; it divides by 1."""


def stated(held: Held) -> Statistics | None:
    """What a file says of itself: our own and Detectron2's buffers, MMDetection's configuration, transformers' file."""
    return _own(held) or _buffers(held) or _configured(held.config) or _preprocessed(held.preprocessing)


def detectron2_default() -> Statistics:
    """Of backbones whose file says nothing."""
    return _of_bytes(_LESS_A_MEAN, (1.0, 1.0, 1.0), bgr=True)


def _of_bytes(mean: Triple, std: Triple, *, bgr: bool) -> Statistics:
    """Numbers in 0 to 255, in the order of the stem's channels."""
    turned = (mean[::-1], std[::-1]) if bgr else (mean, std)
    first, second = (tuple(value / 255 for value in triple) for triple in turned)
    return Statistics(_triple(first), _triple(second), bgr)


def _triple(values: Any) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _own(held: Held) -> Statistics | None:
    prefix = next((n.removesuffix(f"{ENCODER}.mean") for n in held.arrays if n.endswith(f"{ENCODER}.mean")), None)
    if prefix is None:
        return None
    mean, std = (_triple(held.arrays[f"{prefix}{ENCODER}.{name}"].reshape(-1).tolist()) for name in ("mean", "std"))
    return Statistics(mean, std)


def _buffers(held: Held) -> Statistics | None:
    if not {"pixel_mean", "pixel_std"} <= held.arrays.keys():
        return None
    mean, std = (_triple(held.arrays[name].reshape(-1).tolist()) for name in ("pixel_mean", "pixel_std"))
    return _of_bytes(mean, std, bgr=mean[0] < mean[2])  # ImageNet's mean of blue is the smallest


def _configured(text: str) -> Statistics | None:
    """The first normalisation in a configuration's text."""
    mean, std = (re.search(rf"\b{key}\s*=\s*{_NUMBERS}", text) for key in ("mean", "std"))
    if mean is None or std is None:
        return None
    order = re.search(r"\b(?:bgr_to_rgb|to_rgb)\s*=\s*(True|False)", text)
    return _of_bytes(_triple(mean.groups()), _triple(std.groups()), bgr=order is not None and order[1] == "False")


def _preprocessed(values: Any) -> Statistics | None:
    mean, std = values.get("image_mean"), values.get("image_std")
    if not (isinstance(mean, list) and isinstance(std, list) and len(mean) == len(std) == 3):
        return None
    return Statistics(_triple(mean), _triple(std))
