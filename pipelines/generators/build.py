"""From settings to a generator."""

from pipelines.generators.cvae import Cvae
from pipelines.generators.gmmn import Gmmn
from pipelines.recipes.recipe import CatSettings


def build_generator(settings: CatSettings, *, query_dim: int, text_dim: int) -> Cvae | Gmmn:
    """Builds the generator of vision queries of `query_dim` (D) from text embeddings of `text_dim` (C) components.

    Both kinds follow `generators.output.QueryGenerator`.
    """
    if settings.generator == "gmmn":
        return Gmmn(
            query_dim=query_dim,
            text_dim=text_dim,
            hidden_dim=settings.hidden_dim,
            noise_dim=settings.latent_dim,
            condition_scale=settings.condition_scale,
        )
    return Cvae(
        query_dim=query_dim,
        text_dim=text_dim,
        hidden_dim=settings.hidden_dim,
        latent_dim=settings.latent_dim,
        condition_scale=settings.condition_scale,
    )
