"""A trained generator from its file."""

from pathlib import Path
from typing import cast

import torch

from pipelines.base.parts import PartSettings
from pipelines.base.safe_weights import load_weights
from pipelines.generators.build import build_generator
from pipelines.generators.output import QueryGenerator


def load_generator(
    path: Path, settings: PartSettings, *, query_dim: int, text_dim: int, device: torch.device
) -> QueryGenerator:
    """The generator that train-cat left, frozen; sizes as in `build_generator`."""
    generator = build_generator(settings, query_dim=query_dim, text_dim=text_dim)
    load_weights(path, generator)
    return cast(QueryGenerator, generator.to(device).eval().requires_grad_(False))
