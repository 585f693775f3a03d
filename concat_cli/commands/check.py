"""status and verify: what is fresh, and whether it still is what it was."""

import json

import typer

from concat_cli.console import err, out, table
from concat_cli.errors import guarded
from concat_cli.options import Cache, Debug, Json, RunArgument
from concat_cli.runs import open_run

COLOURS = {"fresh": "green", "stale": "yellow", "missing": "dim"}


@guarded
def status(run: RunArgument, json_output: Json = False, cache: Cache = None, debug: Debug = False) -> None:
    """Show which stages are fresh, stale (and which input or setting changed) or missing."""
    from pipelines.recipes.load import recipe_is_as_written
    from pipelines.runs.freshness import status as states
    from pipelines.runs.run import RECIPE
    from pipelines.stages.chain import chain

    opened = open_run(run, cache=cache)
    found = states(opened, chain(opened.recipe))
    edited = recipe_is_as_written(opened.folder / RECIPE) is False
    if json_output:
        stages = [vars(state) for state in found]
        typer.echo(json.dumps({"run": str(run), "recipe_edited": edited, "stages": stages}, indent=1))
        return
    rows = [[state.name, f"[{COLOURS[state.state]}]{state.state}[/]", state.why] for state in found]
    table(f"{run}  ({opened.recipe.name})", ["stage", "state", "why"], rows, texts=3)
    if edited:
        opened.reporter.say(f"{RECIPE} was edited since a command last wrote it; the table tells what that makes stale")


@guarded
def verify(run: RunArgument, cache: Cache = None, debug: Debug = False) -> None:
    """Hash everything in a run again, and name what was changed, removed or added since it was written."""
    from pipelines.runs.verify import verify as check
    from pipelines.stages.chain import chain

    opened = open_run(run, cache=cache)
    verdict = check(opened, chain(opened.recipe))
    if verdict.unsigned:
        opened.reporter.say(f"without a digest of its own, as version 0.1 wrote it: {', '.join(verdict.unsigned)}")
    if not verdict.wrong:
        finished = len([*run.glob("[!.]*/manifest.json")])
        out.print(f"Every file of {finished} finished stages is what its manifest says.")
        return
    for line in verdict.wrong:
        err.print(line, style="red", soft_wrap=True)
    raise typer.Exit(2)
