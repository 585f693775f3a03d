"""Widths of the generative moment matching network."""

from pipelines.base.parts import PartSettings, named
from pipelines.base.settings import setting


class GmmnSettings(PartSettings):
    """The generator of ZS3Net: noise and a name's embedding through an MLP, held to real queries by MMD alone."""

    kind: str = named("gmmn")
    hidden_dim: int = setting(1024, "Width of the hidden layer.", ge=8)
    noise_dim: int = setting(0, "Width of the noise; 0: that of the text embeddings.", ge=0)
    condition_scale: float = setting(1.0, "Scale of the text embedding beside the noise; 0: √C.", ge=0)
