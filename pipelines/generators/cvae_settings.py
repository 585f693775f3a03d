"""Widths of CONCAT's generator."""

from pipelines.base.parts import PartSettings, named
from pipelines.base.settings import setting


class CvaeSettings(PartSettings):
    """The conditional variational autoencoder (section CAT)."""

    kind: str = named("cvae")
    hidden_dim: int = setting(1024, "Width of encoder and decoder.", ge=8)
    latent_dim: int = setting(0, "Width of the latent Z; 0: that of the text embeddings.", ge=0)
    condition_scale: float = setting(1.0, "Scale of the condition added to the latent; 0: √C.", ge=0)
