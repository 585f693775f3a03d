"""A generator from outside the package, as CONTRIBUTING.md walks through adding one."""

import torch
from torch import Tensor, nn

from pipelines.base.parts import Part, PartSettings, named
from pipelines.base.settings import setting
from pipelines.generators.output import GeneratorOutput, draw_noise


class ToySettings(PartSettings):
    """A linear map of the name's embedding, and noise."""

    kind: str = named("toy")
    noise: float = setting(0.5, "Standard deviation of the noise.", ge=0)


class Toy(nn.Module):
    """v̂ = W a + σ ε.

    Args:
        settings: σ.
        query_dim: D.
        text_dim: C.
    """

    def __init__(self, settings: ToySettings, *, query_dim: int, text_dim: int) -> None:
        super().__init__()
        self.noise, self.query_dim = settings.noise, query_dim
        self.linear = nn.Linear(text_dim, query_dim)

    def forward(self, queries: Tensor, text: Tensor, random: torch.Generator) -> GeneratorOutput:
        """Generates a query for each row of `text`, M×C."""
        return GeneratorOutput(self.generate(text, random))

    def generate(self, text: Tensor, random: torch.Generator) -> Tensor:
        """Text embeddings M×C and noise → v̂, M×D."""
        made: Tensor = self.linear(text) + self.noise * draw_noise(len(text), self.query_dim, random, like=text)
        return made


TOY = Part(ToySettings, Toy)
