"""demo: the whole method on the embedded world."""

from pathlib import Path
from typing import Annotated

import typer

from concat_cli.commands.run import run as run_recipe
from concat_cli.options import Cache, Debug, Device, Seed, Set


def demo(
    run: Annotated[Path, typer.Option("--run", help="Run directory.", file_okay=False)] = Path("demo"),
    recipe: Annotated[
        str, typer.Option("--recipe", help="micrococo, or smoke: the same path in about a minute, without quality.")
    ] = "micrococo",
    settings: Set = None,
    seed: Seed = None,
    device: Device = None,
    cache: Cache = None,
    debug: Debug = False,
) -> None:
    """Render micrococo, train CON and CAT, finetune, and show seen, unseen and harmonic quality with pictures."""
    run_recipe(recipe=recipe, run=run, settings=settings, seed=seed, device=device, cache=cache, debug=debug)
