"""The conditional variational autoencoder of CONCAT's second stage (section "CAT", figure 2)."""

import math

import torch
from torch import Tensor, nn

from pipelines.generators.cvae_settings import CvaeSettings
from pipelines.generators.output import GeneratorOutput, draw_noise

LOG_VAR_LIMIT = 8.0


class Cvae(nn.Module):
    """μ, log σ² = encoder(v');  z = μ + σ·ε + condition(a);  v̂' = decoder(z).

    "Adding the condition" needs equal widths: `condition` is the identity when the latent has C components, otherwise
    a learned linear map (method.md, "Reading").

    A `condition_scale` of √C gives a unit vector's components the size of z's.

    Args:
        settings: width of encoder and decoder, Z, factor on the condition.
        query_dim: D.
        text_dim: C.
    """

    def __init__(self, settings: CvaeSettings, *, query_dim: int, text_dim: int) -> None:
        super().__init__()
        self.latent_dim = settings.latent_dim or text_dim
        self.condition_scale = settings.condition_scale or math.sqrt(text_dim)
        self.encoder = _four_layers(query_dim, settings.hidden_dim, 2 * self.latent_dim)
        self.decoder = _four_layers(self.latent_dim, settings.hidden_dim, query_dim)
        self.condition = nn.Identity() if self.latent_dim == text_dim else nn.Linear(text_dim, self.latent_dim)

    def forward(self, queries: Tensor, text: Tensor, random: torch.Generator) -> GeneratorOutput:
        """Reconstructs queries through the latent.

        In training mode batch norm needs at least two rows.

        Args:
            queries: v', M×D, matched seen queries.
            text: a, M×C, unit text embeddings of their categories.
            random: CPU generator of ε.
        """
        mu, log_var = self.encoder(queries).chunk(2, dim=-1)
        log_var = log_var.clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT)
        noise = draw_noise(len(queries), self.latent_dim, random, like=mu)
        return GeneratorOutput(self._decode(mu + (0.5 * log_var).exp() * noise, text), mu, log_var)

    def generate(self, text: Tensor, random: torch.Generator) -> Tensor:
        """Decodes noise from N(0, I) under the conditions `text` (M×C, unit length) → v̂, M×D."""
        return self._decode(draw_noise(len(text), self.latent_dim, random, like=text), text)

    def _decode(self, latent: Tensor, text: Tensor) -> Tensor:
        generated: Tensor = self.decoder(latent + self.condition(self.condition_scale * text))
        return generated


def _four_layers(dim_in: int, hidden: int, dim_out: int) -> nn.Sequential:
    """Three of Linear–BatchNorm1d–LeakyReLU and a plain Linear, whose outputs must be able to take any value."""
    layers: list[nn.Module] = []
    for width in (dim_in, hidden, hidden):
        layers += [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(hidden, dim_out))
