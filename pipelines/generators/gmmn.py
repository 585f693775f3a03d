"""The generative moment matching network (Li et al., 2015), as ZS3Net (Bucher et al., 2019) conditions it on words."""

import math

import torch
from torch import Tensor, nn

from pipelines.generators.gmmn_settings import GmmnSettings
from pipelines.generators.output import GeneratorOutput, draw_noise


class Gmmn(nn.Module):
    """v̂ = MLP(noise ⊕ a): no encoder; only MMD ties it to real queries.

    Dropout, which ZS3Net has between the layers, is left out, so that all randomness comes from the noise.

    A `condition_scale` of √C gives the components of the embedding the size of the noise's.

    Args:
        settings: width of the hidden layer and of the noise, factor on the text embedding.
        query_dim: D.
        text_dim: C.
    """

    def __init__(self, settings: GmmnSettings, *, query_dim: int, text_dim: int) -> None:
        super().__init__()
        self.noise_dim = settings.noise_dim or text_dim
        self.condition_scale = settings.condition_scale or math.sqrt(text_dim)
        self.layers = nn.Sequential(
            nn.Linear(self.noise_dim + text_dim, settings.hidden_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(settings.hidden_dim, query_dim),
        )

    def forward(self, queries: Tensor, text: Tensor, random: torch.Generator) -> GeneratorOutput:  # noqa: ARG002
        """Generates a query for each row of `text` (M×C); `queries` serve only generators with an encoder."""
        return GeneratorOutput(self.generate(text, random))

    def generate(self, text: Tensor, random: torch.Generator) -> Tensor:
        """Noise from N(0, I) and text embeddings M×C (unit length) → v̂, M×D."""
        noise = draw_noise(len(text), self.noise_dim, random, like=text)
        generated: Tensor = self.layers(torch.cat([noise, self.condition_scale * text], dim=-1))
        return generated
