"""The generative moment matching network (Li et al., 2015), as ZS3Net (Bucher et al., 2019) conditions it on words."""

import math

import torch
from torch import Tensor, nn

from pipelines.generators.output import GeneratorOutput, draw_noise


class Gmmn(nn.Module):
    """v̂ = MLP(noise ⊕ a): no encoder; only MMD ties it to real queries.

    Dropout, which ZS3Net has between the layers, is left out, so that all randomness comes from the noise.

    Args:
        query_dim: D.
        text_dim: C.
        hidden_dim: width of the hidden layer.
        noise_dim: width of the noise; 0: C.
        condition_scale: factor on the text embedding; 0: √C, which gives its components the size of the noise's.
    """

    def __init__(
        self, *, query_dim: int, text_dim: int, hidden_dim: int, noise_dim: int, condition_scale: float
    ) -> None:
        super().__init__()
        self.noise_dim = noise_dim or text_dim
        self.condition_scale = condition_scale or math.sqrt(text_dim)
        self.layers = nn.Sequential(
            nn.Linear(self.noise_dim + text_dim, hidden_dim), nn.LeakyReLU(0.2), nn.Linear(hidden_dim, query_dim)
        )

    def forward(self, queries: Tensor, text: Tensor, random: torch.Generator) -> GeneratorOutput:  # noqa: ARG002
        """Generates a query for each row of `text` (M×C); `queries` serve only generators with an encoder."""
        return GeneratorOutput(self.generate(text, random))

    def generate(self, text: Tensor, random: torch.Generator) -> Tensor:
        """Noise from N(0, I) and text embeddings M×C (unit length) → v̂, M×D."""
        noise = draw_noise(len(text), self.noise_dim, random, like=text)
        generated: Tensor = self.layers(torch.cat([noise, self.condition_scale * text], dim=-1))
        return generated
