"""The kinds of generators, and from settings to one."""

from typing import TYPE_CHECKING, cast

from pipelines.base.parts import Part, PartSettings, PartTable
from pipelines.generators.cvae_settings import CvaeSettings
from pipelines.generators.gmmn_settings import GmmnSettings

if TYPE_CHECKING:
    from torch import nn

GENERATORS = PartTable(
    "generator",
    group="concat.generators",
    parts=(
        Part(CvaeSettings, "pipelines.generators.cvae:Cvae"),
        Part(GmmnSettings, "pipelines.generators.gmmn:Gmmn"),
    ),
)


def build_generator(settings: PartSettings, *, query_dim: int, text_dim: int) -> "nn.Module":
    """Builds the generator of vision queries of `query_dim` (D) from text embeddings of `text_dim` (C) components.

    Every kind is a module that follows `generators.output.QueryGenerator`.
    """
    return cast("nn.Module", GENERATORS.build(settings, query_dim=query_dim, text_dim=text_dim))
