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
    from pipelines.runs.freshness import status as states
    from pipelines.stages.chain import chain

    opened = open_run(run, cache=cache)
    found = states(opened, chain(opened.recipe))
    if json_output:
        typer.echo(json.dumps({"run": str(run), "stages": [vars(state) for state in found]}, indent=1))
        return
    rows = [[state.name, f"[{COLOURS[state.state]}]{state.state}[/]", state.why] for state in found]
    table(f"{run}  ({opened.recipe.name})", ["stage", "state", "why"], rows, texts=3)


@guarded
def verify(run: RunArgument, cache: Cache = None, debug: Debug = False) -> None:
    """Hash every output of a run again and name those that changed."""
    from pipelines.runs.freshness import verify as check
    from pipelines.stages.chain import chain

    opened = open_run(run, cache=cache)
    stages = chain(opened.recipe)
    finished = [stage for stage in stages if (run / stage.folder / "manifest.json").exists()]
    wrong = check(opened, stages)
    if not wrong:
        out.print(f"Every output of {len(finished)} finished stages is what its manifest says.")
        return
    for line in wrong:
        err.print(line, style="red", soft_wrap=True)
    raise typer.Exit(2)
