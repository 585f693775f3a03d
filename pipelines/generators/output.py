"""What every generator offers and returns."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class GeneratorOutput(NamedTuple):
    """Generated vision queries and, of a variational generator, the posterior they were drawn from.

    Attributes:
        generated: v̂', M×D.
        mu: μ, M×Z; None where there is no posterior.
        log_var: log σ², M×Z; None where there is no posterior.
    """

    generated: Tensor
    mu: Tensor | None = None
    log_var: Tensor | None = None


class QueryGenerator(Protocol):
    """A module that turns text embeddings and noise into vision queries.

    Noise is always drawn on the CPU, so that a seed means the same on every device.
    """

    def __call__(self, queries: Tensor, text: Tensor, random: torch.Generator) -> GeneratorOutput:
        """Training: real queries M×D and the text embeddings M×C of their categories → generated ones."""

    def generate(self, text: Tensor, random: torch.Generator) -> Tensor:
        """Text embeddings M×C and noise from N(0, I) → generated queries M×D."""


def draw_noise(rows: int, width: int, random: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal noise rows×width from a CPU generator, on the device and in the precision of `like`."""
    return torch.randn(rows, width, generator=random).to(device=like.device, dtype=like.dtype)
