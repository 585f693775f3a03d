"""compare: runs, scores and published figures side by side."""

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from concat_cli.console import out, table
from concat_cli.errors import guarded
from concat_cli.options import Debug, Json
from pipelines.base.errors import ConcatError
from pipelines.base.terms import NOT_ZERO_SHOT

if TYPE_CHECKING:
    from pipelines.report.compare import Comparison, Entry, Row

EXAMPLES = """[bold]Examples[/]
  [dim]A run beside the paper's table 1[/]
  concat compare runs/zps concat-zps
  [dim]One setting of two runs, segmentation quality[/]
  concat compare runs/a:transductive runs/b:transductive --figure sq
  [dim]Anyone's predictions beside what PADing reports[/]
  concat score … --out mine.json; concat compare mine.json pading-zps-full
  [dim]What is published of CLIPTeacher[/]
  concat compare --list clipteacher"""

LABELS = {"pq": "PQ", "sq": "SQ", "rq": "RQ", "miou": "mIoU", "pacc": "pAcc", "mask_ap50": "mask AP50",
          "mask_ap": "mask AP", "mask_recall100": "mask R@100", "box_ap50": "box AP50", "box_ap": "box AP",
          "box_recall100": "box R@100"}  # fmt: skip


@guarded
def compare(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            help="Run directories (DIR, DIR:inductive, DIR:transductive, DIR:transductive_best), jsons of "
            "`concat score`, ids of published results or what several ids begin with. Differences are to the first.",
            metavar="A B …",
            show_default=False,
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(help="What is compared, such as sq, rq, pacc or box_ap50.", show_default="PQ, mIoU or mask AP50"),
    ] = None,
    json_output: Json = False,
    csv: Annotated[Path | None, typer.Option(help="Write the comparison as csv.", dir_okay=False)] = None,
    listing: Annotated[bool, typer.Option("--list", help="Show the published results (of A B …) instead.")] = False,
    debug: Debug = False,
) -> None:
    """Lay runs, scored predictions and published figures side by side, with differences to the first."""
    from pipelines.base.files import write_text
    from pipelines.report.compare import compare as lay_side_by_side
    from pipelines.report.compare import read_entries

    if listing:
        _list(what or [], json_output)
        return
    entries = [entry for argument in what or [] for entry in read_entries(argument)]
    if not entries:
        raise ConcatError(
            "Nothing to compare.", mend="Name runs, jsons of scores or published results: concat compare DIR concat-zps"
        )
    comparison = lay_side_by_side(entries, figure)
    if csv is not None:
        write_text(csv, comparison.to_csv())
    if json_output:
        typer.echo(json.dumps(comparison.to_json(), indent=1, allow_nan=False))
    else:
        _show(comparison)


def _show(comparison: "Comparison") -> None:
    from pipelines.scoring.scores import CANDIDATES

    figures = list(dict.fromkeys(LABELS.get(row.figure, row.figure) for row in comparison.rows))
    candidates = "; ".join(dict.fromkeys(CANDIDATES[row.entry.candidates] for row in comparison.rows))
    mixed = len(figures) > 1
    sheet = Table(title=f"{' and '.join(figures)}, %: {candidates}", title_justify="left", header_style="bold")
    sheet.add_column("± to the first", overflow="fold")
    for column in (*(["figure"] if mixed else []), *comparison.groups):
        sheet.add_column(column, justify="right", no_wrap=True)
    notes = Table.grid(padding=(0, 2))
    notes.add_column(overflow="fold")
    for row in comparison.rows:
        label = [LABELS.get(row.figure, row.figure)] if mixed else []
        name = row.entry.name if row.entry.zero_shot is not False else f"{row.entry.name}, {NOT_ZERO_SHOT}"
        sheet.add_row(escape(name), *label, *(_cell(row, group) for group in comparison.groups))
        notes.add_row(escape(row.entry.name), escape(_said(row.entry)), style="dim")
    out.print(sheet, notes)
    for warning in comparison.warnings:
        out.print(f"[yellow]![/] {escape(warning)}")


def _cell(row: "Row", group: str) -> str:
    value, difference = row.values[group], row.differences[group]
    return _figure(value) if difference is None else f"{_figure(value)}\n[dim]{difference:+.1f}[/]"


def _said(entry: "Entry") -> str:
    """The conditions under which an entry's figures came about."""
    protocol = entry.protocol.upper() if entry.protocol else "protocol not known"
    start = NOT_ZERO_SHOT if entry.zero_shot is False else ""
    setting = entry.setting or "setting not known"
    conditions = [entry.task, start, setting, protocol, entry.candidates, entry.vocabulary]
    return f"{', '.join(filter(None, conditions))}. {entry.about}"


def _list(names: list[str], json_output: bool) -> None:
    """The published results, table by table."""
    from pipelines.base.terms import MAIN_FIGURE
    from pipelines.published_tables.published import find_published, published_results
    from pipelines.report.compare import GROUPS, published_entry

    results = [result for name in names for result in find_published(name)] if names else published_results()
    if json_output:
        typer.echo(json.dumps([result.model_dump() for result in results], indent=1))
        return
    for source, of_source in groupby(results, key=lambda result: result.source):
        entries = [published_entry(result) for result in of_source]
        groups = [group for group in GROUPS if any(group in entry.groups for entry in entries)]
        figures = [MAIN_FIGURE[entry.task] for entry in entries]
        rows = [
            [entry.name, *(_figure(entry.groups.get(group, {}).get(figure)) for group in groups)]
            for entry, figure in zip(entries, figures, strict=True)
        ]
        labels = " and ".join(dict.fromkeys(LABELS[figure] for figure in figures))
        table(f"{source}: {labels}, %", ["id", *groups], rows)
    out.print("[dim]An id that ends in -by-… is what that paper says of another's method.[/]")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
