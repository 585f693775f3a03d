"""The kinds of alignment losses, and from settings to them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipelines.base.parts import Part, PartTable
from pipelines.losses.alignment_settings import AlignmentSettings
from pipelines.losses.cga_settings import CgaSettings
from pipelines.losses.cia_settings import CiaSettings

if TYPE_CHECKING:
    from torch import nn

ALIGNMENTS = PartTable(
    "alignment loss",
    group="concat.alignments",
    parts=(
        Part(CgaSettings, "pipelines.losses.cga:GlobalAlignment"),
        Part(CiaSettings, "pipelines.losses.cia:InstanceAlignment"),
    ),
)


def build_alignments(settings: Mapping[str, AlignmentSettings], *, text_dim: int) -> "nn.ModuleDict":
    """Builds those that have a weight, for tokens of `text_dim` (C) components; each follows `losses.alignment`."""
    from torch import nn

    used = {name: own for name, own in settings.items() if own.weight > 0}
    return nn.ModuleDict({name: ALIGNMENTS.build(own, text_dim=text_dim) for name, own in used.items()})
