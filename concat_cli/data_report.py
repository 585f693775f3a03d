"""What check-data prints: how often each category occurs, and what is wrong, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from concat_cli.console import out, table

if TYPE_CHECKING:
    from pipelines.base.terms import Task
    from pipelines.data.checks.check import CategoryCount, DataReport
    from pipelines.data.checks.findings import Finding
    from pipelines.stages.check import CheckedList

SEGMENTS = {"panoptic": "segments", "instance": "instances"}
SHOWN = 5  # files of a finding; --json has more
NAMED = ("category without segment", "unseen category without segment")  # whose examples are short


def show_list(checked: CheckedList) -> None:
    """Prints a list's categories, the seen and the unseen ones apart, then the findings and the sheet."""
    report = checked.report
    split = any(category.unseen for category in report.categories)
    for unseen, half in ((False, "seen categories" if split else "categories"), (True, "unseen categories")):
        rows = [category for category in report.categories if category.unseen == unseen and category.segments]
        if rows:
            _show_categories(f"{checked.name}, {half}", rows, checked.task)
    out.print(f"[bold]{escape(checked.name)}[/]  {_in_short(report, checked.task)}", soft_wrap=True)
    for finding in report.findings:
        _show_finding(finding)
    if report.sound:
        out.print("[green]✓ Nothing was found that would break or falsify a run.[/]")
    if checked.sheet is not None:
        out.print(f"Contact sheet  {escape(str(checked.sheet))}", soft_wrap=True)


def _show_categories(title: str, categories: Sequence[CategoryCount], task: Task) -> None:
    """The categories that occur, most frequent first; a column that says nothing is left out."""
    columns = {"images": [c.images for c in categories]}
    if task != "semantic":  # whose segments are the images with a category
        columns[SEGMENTS[task]] = [c.segments for c in categories]
    if any(c.crowd_segments for c in categories):
        columns["crowd"] = [c.crowd_segments for c in categories]
    columns["pixels"] = [c.pixels for c in categories]
    figures = zip(*columns.values(), strict=True)
    rows = [
        (-category.segments, category.name, [_kind(category.isthing), *(f"{n:,}" for n in row)])
        for category, row in zip(categories, figures, strict=True)
    ]
    table(title, ["category", "kind", *columns], [[escape(name), *cells] for _, name, cells in sorted(rows)], texts=2)


def _kind(isthing: bool) -> str:
    return "thing" if isthing else "stuff"


def _in_short(report: DataReport, task: Task) -> str:
    segments = sum(category.segments for category in report.categories)
    crowd = sum(category.crowd_segments for category in report.categories)
    occur = sum(category.segments > 0 for category in report.categories)
    parts = [f"{report.images:,} images"]
    if report.counted < report.images:
        parts.append(f"{report.counted:,} of them counted")
    if task != "semantic":
        parts.append(f"{segments:,} {SEGMENTS[task]}" + (f" ({crowd:,} crowd)" if crowd else ""))
    parts.append(f"{occur} of {len(report.categories)} categories")
    parts.append(f"{report.decoded:,} images decoded" + (" (--all: every one)" if _sampled(report) else ""))
    return ", ".join(parts)


def _sampled(report: DataReport) -> bool:
    from pipelines.data.checks.check import DECODED

    return report.decoded == DECODED < report.images


def _show_finding(finding: Finding) -> None:
    mark = "[bold red]✗[/]" if finding.serious else "[yellow]•[/]"
    names = finding.kind in NAMED
    shown = finding.examples if names else finding.examples[:SHOWN]
    more = f"and {finding.count - len(shown):,} more" if finding.count > len(shown) else ""
    if names:
        told = escape(", ".join(shown)) + (f" {more}" if more else "")
        out.print(f"{mark} {finding.says}: [dim]{told}[/]", soft_wrap=True)
        return
    out.print(f"{mark} {finding.says}", soft_wrap=True)
    for line in (*shown, *([more] if more else [])):
        out.print(f"    [dim]{escape(line)}[/]", soft_wrap=True)
