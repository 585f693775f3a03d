"""run: a recipe from beginning to end, doing all that is stale and nothing that is fresh."""

from typing import Annotated

import typer

from concat_cli.completion import recipes
from concat_cli.data_options import ALLOWED, AllowSeenUnseen
from concat_cli.errors import guarded
from concat_cli.launch import relaunched
from concat_cli.options import Cache, Debug, Device, Devices, DryRun, RunDir, Seed, Set
from concat_cli.runs import bring_up_to_date, open_run


@guarded
def run(
    recipe: Annotated[
        str,
        typer.Argument(
            help="Shipped recipe or path of a .toml; a run's recipe.toml repeats it.", autocompletion=recipes
        ),
    ],
    run: RunDir,
    allow_seen_unseen: AllowSeenUnseen = False,
    settings: Set = None,
    seed: Seed = None,
    device: Device = None,
    devices: Devices = None,
    cache: Cache = None,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Run all stages of a recipe that are stale, and none that is fresh."""
    from concat_cli.scores import show_scores

    if not dry_run and relaunched(devices):
        return
    given = [*([ALLOWED] if allow_seen_unseen else []), *(settings or [])]
    opened = open_run(run, cache=cache, recipe=recipe, settings=given, seed=seed, device=device)
    bring_up_to_date(opened, "eval", dry_run=dry_run)
    if not dry_run:
        show_scores(opened.folder / "eval")
