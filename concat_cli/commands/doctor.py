"""doctor: what this machine has, what works here and what does not; what a bug report asks for."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from concat_cli.console import out
from concat_cli.errors import guarded
from concat_cli.options import Debug, Json
from pipelines.base.machine import Fact, look_around

SIGNS = {"good": "[green]✓[/]", "poor": "[yellow]![/]", "broken": "[red]✗[/]"}


@guarded
def doctor(
    cache: Annotated[
        Path,
        typer.Option("--cache", help="The cache to look at.", envvar="CONCAT_CACHE", file_okay=False),
    ] = Path("cache"),
    offline: Annotated[bool, typer.Option("--offline", help="Do not try the network.")] = False,
    json_output: Json = False,
    debug: Debug = False,
) -> None:
    """Show versions, devices, cores, disk, cache, fonts and network: what works here and what does not."""
    facts = look_around(cache, network=not offline)
    if json_output:
        typer.echo(json.dumps([fact._asdict() for fact in facts], indent=1))
    else:
        _show(facts)
    if any(fact.state == "broken" for fact in facts):
        raise typer.Exit(1)


def _show(facts: list[Fact]) -> None:
    width = max(len(fact.name) for fact in facts)
    for fact in facts:
        out.print(f"{SIGNS[fact.state]} {fact.name:{width}}  {escape(fact.found)}", soft_wrap=True)
        if fact.means:
            out.print(f"  {'':{width}}  [dim]{escape(fact.means)}[/]", soft_wrap=True)
