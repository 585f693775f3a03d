"""Projector and text classifier."""

from typing import Literal

from pipelines.base.parts import PartSettings, named
from pipelines.base.settings import setting


class ProjectorSettings(PartSettings):
    """Queries through a projector, then the cosine to each name's text embedding (eq. 1)."""

    kind: str = named("projector")
    hidden_dim: int = setting(512, "Hidden width of the semantic projector.", ge=1)
    activation: Literal["relu", "gelu"] = setting("relu", "Activation between the projector's two linear layers.")
    logit_scale: float = setting(10.0, "Scale of the cosine logits at the start.", gt=0)
    logit_bias: float = setting(-4.0, "Bias of the logits at the start (the focal prior).")
    learn_scale: bool = setting(True, "Learn scale and bias.")
