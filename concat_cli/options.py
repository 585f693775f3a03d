"""Options that several commands share, each described once."""

from pathlib import Path
from typing import Annotated

import typer

RunDir = Annotated[
    Path, typer.Option("--run", help="Run directory; everything of one experiment lies below it.", file_okay=False)
]
RunArgument = Annotated[Path, typer.Argument(help="Run directory.", metavar="RUN", file_okay=False)]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting of the recipe; may be repeated. Kept in recipe.toml."
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of everything random but the data.", min=0)]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Devices = Annotated[
    int | None,
    typer.Option(
        "--devices", help="Processes of this machine that share the work, one a device (or core group).", min=1
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Where CLIP stores, query dumps and rendered scenes are kept; a run remembers it.",
        envvar="CONCAT_CACHE",
        show_default="the run's, else ./cache",
        file_okay=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Run this stage again even if it is fresh, from its start.")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show what would run, why, and how much it would write where; write nothing."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and warnings of libraries.")]
Json = Annotated[bool, typer.Option("--json", help="Print json in place of a table.")]
