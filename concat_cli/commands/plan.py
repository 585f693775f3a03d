"""plan: what a run will take, before the wait."""

import json
from dataclasses import replace
from typing import Annotated

import typer

from concat_cli.completion import recipes
from concat_cli.errors import guarded
from concat_cli.options import Cache, Debug, Device, Json, RunDir, Seed, Set
from concat_cli.plan_table import plan_values, show_plan
from concat_cli.runs import open_run


@guarded
def plan(
    run: RunDir,
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Shipped recipe or path of a .toml.", show_default="the run's recipe.toml", autocompletion=recipes
        ),
    ] = None,
    devices: Annotated[int, typer.Option("--devices", help="Devices like this one that share the work.", min=1)] = 1,
    steps: Annotated[int, typer.Option("--steps", help="Steps of each stage that are timed.", min=1)] = 3,
    json_output: Json = False,
    settings: Set = None,
    seed: Seed = None,
    device: Device = None,
    cache: Cache = None,
    debug: Debug = False,
) -> None:
    """Show which stages would run and why, how long they take, and how much memory and disk they need.

    A few steps of each are timed on made-up images of the recipe's size. Nothing is written, to the run or the cache;
    what does not fit on the disk ends with exit code 2. Commands with --dry-run show the same at once, without timing.
    """
    from pipelines.base.progress import SilentReporter
    from pipelines.stages.chain import chain
    from pipelines.stages.plan import plan_of
    from pipelines.stages.timing import timed

    opened = open_run(run, cache=cache, recipe=recipe, settings=settings, seed=seed, device=device)
    if json_output:
        opened = replace(opened, reporter=SilentReporter())
    planned = plan_of(opened, chain(opened.recipe), "eval")
    timing = timed(opened, planned, devices=devices, steps=steps)
    if json_output:
        typer.echo(json.dumps(plan_values(opened, timing.plan, timing, devices=devices), indent=1))
    else:
        show_plan(opened, timing.plan, timing, devices=devices)
    timing.plan.check_room()
