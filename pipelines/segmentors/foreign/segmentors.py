"""From foreign weights of a whole segmentor into ours: every name is used or named as left, none of ours is missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn

from pipelines.base.errors import ConcatError
from pipelines.segmentors.backbone import Backbone
from pipelines.segmentors.foreign.backbones import Found, named_as_timm
from pipelines.segmentors.foreign.formats import backbone_prefix, recognised
from pipelines.segmentors.foreign.layout import ENCODER, SegmentorLayout
from pipelines.segmentors.foreign.read import Held
from pipelines.segmentors.foreign.sizes import different
from pipelines.segmentors.foreign.statistics import IMAGENET
from pipelines.segmentors.foreign.transformers_layout import settled

_NET: Final = f"{ENCODER}.net."
_NOT_IN_FILES: Final = (".num_batches_tracked", f"{ENCODER}.mean", f"{ENCODER}.std")


@dataclass(frozen=True)
class Start:
    """What became of a file's names.

    Attributes:
        format: in words.
        used: names in the file whose weights ours now has.
        left: names in the file that have no place in ours: class heads, buffers of losses.
        remarks: what a user should know of these weights.
    """

    format: str
    used: tuple[str, ...]
    left: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def told(self) -> str:
        """In words."""
        left = f", {len(self.left)} left, such as {self.left[0]}" if self.left else ""
        return f"starts from weights of {self.format}: {len(self.used)} names used{left}"

    def noted(self) -> dict[str, Any]:
        """As a manifest says it: how many were used, and which were left."""
        return {"format": self.format, "used": len(self.used), "left": list(self.left), "remarks": list(self.remarks)}


@dataclass(frozen=True)
class _Given:
    """A file's tensors by the names of our segmentor, and our name → the name in the file."""

    tensors: dict[str, Tensor]
    origin: dict[str, str]


def load_segmentor(segmentor: nn.Module, kind: str, held: Held) -> Start:
    """Reads a file's weights into a segmentor of ours.

    Args:
        segmentor: a `Mask2Former` or `MaskFormer`, whose backbone is the one in the file.
        kind: `mask2former` or `maskformer`.
        held: the file.

    Raises:
        ConcatError: the file holds no segmentor that is known, another kind, or one of other widths or depths.
    """
    layout = recognised(held)
    _check_kind(layout, kind, held)
    tensors, spelt = {}, {}
    for name, value in held.tensors().items():
        tensors[layout.earlier(name)], spelt[layout.earlier(name)] = value, name
    prefix = backbone_prefix(layout, tensors)
    inside = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    around = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    found = named_as_timm(inside, held, default=IMAGENET)
    wanted = segmentor.state_dict()
    given = _together(_heads(around, layout, kind, held), _backbone(found, prefix), wanted)
    _check_fit(given, wanted, held)
    segmentor.load_state_dict(given.tensors, strict=False)
    _normalise(segmentor, found)
    used = set(given.origin.values())
    return Start(
        format=layout.name,
        used=tuple(theirs for name, theirs in spelt.items() if name in used),
        left=tuple(theirs for name, theirs in spelt.items() if name not in used),
        remarks=(found.remark,) if found.remark else (),
    )


def _check_kind(layout: SegmentorLayout, kind: str, held: Held) -> None:
    there = layout.kind_of(held.shapes)
    if there == kind:
        return
    if there is not None and kind in layout.kinds:
        message, mend = f"of a {there}, not of a {kind}", f"Set con.segmentor.kind={there}, or give other weights."
    else:
        message = f"of a {there}" if there else f"of {layout.name}, but neither of Mask2Former nor of MaskFormer"
        mend = "con.segmentor.weights can be read into mask2former and maskformer alone."
    raise ConcatError(f"The weights are {message}.", file=held.path, mend=mend)


def _heads(around: Mapping[str, Tensor], layout: SegmentorLayout, kind: str, held: Held) -> _Given:
    """Everything but the backbone."""
    kept = {name: value for name, value in around.items() if not name.startswith(layout.left)}
    tensors, origin = layout.kinds[kind][1].to_ours(kept)
    known = set(origin.values())
    strange = next((name for name in kept if name not in known and name.startswith(layout.heads)), None)
    if strange:
        raise ConcatError(
            f"The weights hold {strange!r}, which a {kind} of ours has not.",
            file=held.path,
            mend="Its pixel decoder or transformer is of another make; give weights of the usual one.",
        )
    return _Given(tensors, origin)


def _backbone(found: Found, prefix: str) -> _Given:
    return _Given(
        {_NET + name: value for name, value in found.tensors.items()},
        {_NET + ours: prefix + theirs for ours, theirs in found.origin.items()},
    )


def _together(heads: _Given, backbone: _Given, wanted: Mapping[str, Tensor]) -> _Given:
    """Both, by the names that the installed transformers and timm use; timm joins some with _ for features."""
    ours = {_loose(name): name for name in wanted}

    def name_of(name: str) -> str:
        return ours.get(_loose(name), name)

    return _Given(
        {name_of(name): value for part in (heads, backbone) for name, value in part.tensors.items()},
        {name_of(name): theirs for part in (heads, backbone) for name, theirs in part.origin.items()},
    )


def _loose(name: str) -> str:
    return settled(name).replace("_", ".") if name.startswith(_NET) else settled(name)


def _check_fit(given: _Given, wanted: Mapping[str, Tensor], held: Held) -> None:
    there = {settled(name): tuple(value.shape) for name, value in given.tensors.items()}
    here = {settled(name): tuple(value.shape) for name, value in wanted.items()}
    missing = sorted(name for name in wanted.keys() - given.tensors.keys() if not name.endswith(_NOT_IN_FILES))
    surplus = sorted(given.tensors.keys() - wanted.keys())
    shape = next((n for n, value in given.tensors.items() if n in wanted and value.shape != wanted[n].shape), None)
    first = next(iter((*missing, *surplus, *([shape] if shape else []))), None)
    if first is None:
        return
    if first in missing:
        what = f"they lack {first!r}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
    elif first in surplus:
        what = f"they hold {given.origin.get(first, first)!r}, which ours has not"
    else:
        what = f"{given.origin.get(first, first)!r} is {there[settled(first)]}, ours {here[settled(first)]}"
    raise ConcatError(f"The weights do not fit the segmentor: {what}.", file=held.path, mend=_mend(first, there, here))


def _mend(first: str, there: Mapping[str, tuple[int, ...]], here: Mapping[str, tuple[int, ...]]) -> str:
    sizes = different(there, here)
    if sizes:
        return f"Use the sizes of the file: {sizes}."
    if first.startswith(_NET):
        return "con.segmentor.backbone must name the timm network that the file holds, such as resnet50."
    return "Settings of con.segmentor, such as heads, must be those that the file was made with."


def _normalise(segmentor: nn.Module, found: Found) -> None:
    """Images are normalised as the weights want it."""
    backbone = next(module for module in segmentor.modules() if isinstance(module, Backbone))
    if found.statistics is not None:
        backbone.normalise_by(found.statistics.mean, found.statistics.std)
