"""The backbone in foreign weights, under timm's names and for RGB."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipelines.segmentors.foreign import detectron2, mmdet, own, transformers_layout
from pipelines.segmentors.foreign.layout import ENCODER, BackboneLayout, Statistics
from pipelines.segmentors.foreign.read import Held
from pipelines.segmentors.foreign.statistics import IMAGENET, detectron2_default, stated
from pipelines.segmentors.foreign.table import Table
from pipelines.segmentors.foreign.torchvision import CLASSIFIER, TORCHVISION

if TYPE_CHECKING:
    from torch import Tensor

_LAYOUTS: Final = (own.FROZEN, *detectron2.BACKBONES, transformers_layout.RESNET, mmdet.DEEP_STEM, TORCHVISION)
_PREFIXES: Final = (
    "backbone.bottom_up.", "backbone.", f"segmentor.{ENCODER}.net.", f"{ENCODER}.net.", f"{ENCODER}._backbone.",
    f"{ENCODER}.", f"{ENCODER.removeprefix('model.')}.", "resnet.",
)  # fmt: skip
_STRIDES: Final = (
    "Weights for BGR images are usually of networks whose strides lie in the 1×1 convolutions; those of timm's "
    "networks lie in the 3×3, and training has to make up for it."
)
_STEMS: Final = ("conv1.weight", "conv1.0.weight")


@dataclass(frozen=True)
class Found:
    """A backbone's weights.

    Attributes:
        layout: the format, in words.
        tensors: by timm's names; the stem takes red, green and blue.
        origin: timm's name → the name in the file.
        left: names in the file that no backbone needs.
        statistics: how images are normalised; None: as timm's weights of that name want it.
        remark: what a user should know of such weights.
    """

    layout: str
    tensors: dict[str, "Tensor"]
    origin: dict[str, str]
    left: tuple[str, ...]
    statistics: Statistics | None
    remark: str = ""


def prefix_of(names: Iterable[str]) -> str:
    """What the names of the backbone begin with in a file that may hold more; empty where it holds a backbone alone."""
    names = list(names)
    return next((prefix for prefix in _PREFIXES if any(name.startswith(prefix) for name in names)), "")


def beside(names: Iterable[str]) -> str | None:
    """A name in the file of neither backbone nor classifier: the network was more than a classifier."""
    names = list(names)
    prefix = prefix_of(names)
    return next((n for n in names if prefix and not n.startswith((prefix, *CLASSIFIER))), None)


def remark_on(held: Held) -> str:
    """What a user should know of the backbone in a file, of which the names will do."""
    prefix = prefix_of(held.shapes)
    inside = {name.removeprefix(prefix): name for name in held.shapes if name.startswith(prefix)}
    layout = _layout_of(inside)
    return _remark(_renamed(inside, layout)[0], stated(held) or _usual(layout, held))


def _remark(names: Iterable[str], statistics: Statistics | None) -> str:
    """Networks for BGR are those of MSRA and their offspring."""
    return _STRIDES if statistics is not None and statistics.bgr and "layer1.0.conv3.weight" in names else ""


def _layout_of(names: Iterable[str]) -> BackboneLayout:
    return next(layout for layout in _LAYOUTS if layout.holds(names))


def find_backbone(held: Held) -> Found:
    """The backbone in a file that holds one, alone or within a larger network."""
    tensors = held.tensors()
    prefix = prefix_of(tensors)
    inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    found = named_as_timm(inside, held)
    around = tuple(name for name in tensors if not name.startswith(prefix))
    return Found(
        layout=found.layout,
        tensors=found.tensors,
        origin={ours: prefix + theirs for ours, theirs in found.origin.items()},
        left=(*(prefix + name for name in found.left), *around),
        statistics=found.statistics,
        remark=found.remark,
    )


def named_as_timm(inside: Mapping[str, "Tensor"], held: Held, default: Statistics | None = None) -> Found:
    """The same from a backbone's own tensors.

    Args:
        inside: by the names that the backbone itself gives them.
        held: the file they come from.
        default: how images are normalised where the file does not say; None: as the layout does.
    """
    layout = _layout_of(inside)
    tensors, origin, left = _renamed(inside, layout)
    statistics = stated(held) or default or _usual(layout, held)
    if statistics is not None and statistics.bgr:
        for stem in _STEMS:
            if stem in tensors:
                tensors[stem] = tensors[stem].flip(1)
    if layout is own.FROZEN:
        norms = {name.removesuffix(own.SHIFT) for name in inside if name.endswith(own.SHIFT)}
        tensors = {
            name: value.flatten() if name.rpartition(".")[0] in norms else value for name, value in tensors.items()
        }
        _unfold(tensors, norms)
    elif layout in detectron2.BACKBONES:
        _unfold(tensors, {name.rpartition(".")[0] for name in tensors if _is_norm(name.rpartition(".")[0])})
    return Found(layout.name, tensors, origin, left, statistics, _remark(tensors, statistics))


def _usual(layout: BackboneLayout, held: Held) -> Statistics | None:
    if layout not in detectron2.BACKBONES:
        return None
    rgb = held.author == "torchvision" or any(name.startswith("sem_seg_head.predictor.") for name in held.shapes)
    return IMAGENET if rgb else detectron2_default()


def _renamed(
    inside: Mapping[str, Any], layout: BackboneLayout
) -> tuple[dict[str, Any], dict[str, str], tuple[str, ...]]:
    spelt = {layout.earlier(name): name for name in inside}
    left = {name for name in spelt if layout.left and name.startswith(layout.left)}
    kept = {name: inside[theirs] for name, theirs in spelt.items() if name not in left}
    tensors, origin = Table(layout.rows, same=("",)).to_ours(kept)  # a name of no row stays: no backbone has it, then
    return (
        tensors,
        {ours: spelt[theirs] for ours, theirs in origin.items()},
        tuple(theirs for name, theirs in spelt.items() if name in left),
    )


def _unfold(tensors: dict[str, Any], norms: Iterable[str]) -> None:
    """Adds mean 0 and variance 1 to norms that have neither, since they were folded into scale and shift."""
    import torch

    for norm in norms:
        shift = tensors.get(f"{norm}.bias")
        if shift is not None and f"{norm}.running_mean" not in tensors:
            tensors[f"{norm}.running_mean"] = torch.zeros_like(shift)
            tensors[f"{norm}.running_var"] = torch.full_like(shift, 1 - 1e-5)  # the norm adds 1e-5 to it


def _is_norm(module: str) -> bool:
    last = module.rpartition(".")[2]
    return last.startswith("bn") or (last.isdigit() and ("downsample" in module or module.startswith("conv1.")))
