"""report: a run, or several beside one another, as one self-contained HTML page."""

from pathlib import Path
from typing import Annotated

import typer

from concat_cli.console import out
from concat_cli.errors import guarded
from concat_cli.options import Cache, Debug
from concat_cli.runs import open_run

EXAMPLES = """[bold]Examples[/]
  [dim]The page of a run, DIR/report.html[/]
  concat report runs/zps
  [dim]Three seeds averaged, beside another recipe[/]
  concat report runs/a0 runs/a1 runs/a2 runs/b0 --out comparison.html"""


@guarded
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run directory; several are compared, seeds of one recipe averaged.", metavar="RUN …"),
    ],
    page: Annotated[
        Path | None,
        typer.Option("--out", help="HTML file to write.", show_default="RUN/report.html", dir_okay=False),
    ] = None,
    cache: Cache = None,
    debug: Debug = False,
) -> None:
    """Write the report of a finished run, or a comparison of several, as one HTML page that needs no network."""
    from pipelines.report.comparison_page import write_comparison
    from pipelines.report.run_page import write_report

    opened = [open_run(folder, cache=cache) for folder in runs]
    if len(opened) == 1:
        written = write_report(opened[0], page or runs[0] / "report.html")
    else:
        written = write_comparison(opened, page or Path("comparison.html"))
    out.print(f"[bold]{written}[/] ({written.stat().st_size / 1e6:.1f} MB): open it in any browser.", soft_wrap=True)
