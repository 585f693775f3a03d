"""The kinds of classifiers, and from settings to one."""

from typing import TYPE_CHECKING, cast

from pipelines.base.parts import Part, PartSettings, PartTable
from pipelines.models.projector_settings import ProjectorSettings

if TYPE_CHECKING:
    from pipelines.models.projector import ProjectionHead

CLASSIFIERS = PartTable(
    "classifier",
    group="concat.classifiers",
    parts=(Part(ProjectorSettings, "pipelines.models.projector:build_projection_head"),),
)


def build_head(settings: PartSettings, *, query_dim: int, text_dim: int) -> "ProjectionHead":
    """Builds what reads vision queries of `query_dim` (D) as words of `text_dim` (C) components."""
    return cast("ProjectionHead", CLASSIFIERS.build(settings, query_dim=query_dim, text_dim=text_dim))
