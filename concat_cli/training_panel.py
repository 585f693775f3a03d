"""A training as it is watched on a terminal: a live panel."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from concat_cli.loss_trace import TOTAL, LossTrace, memory_text, sparkline
from pipelines.base.progress import StepFigures

_WIDEST = 100  # columns; in wider panels the eye has to wander


@dataclass(frozen=True)
class Course:
    """A sparkline as wide as there is room."""

    values: list[float]

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> Iterator[Text]:
        """One line."""
        yield Text(sparkline(self.values, options.max_width), style="green")


class TrainingPanel:
    """The live panel: bar, time, rates, losses now and smoothed, and the course of their total."""

    def __init__(self, console: Console, description: str, total: int, done: int, images_per_step: int) -> None:
        self.console, self.description = console, description
        self.images_per_step, self.trace = images_per_step, LossTrace()
        self.bar = Progress(
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TextColumn("[dim]steps[/]"),
            TimeElapsedColumn(),
            TextColumn("[dim]left[/]"),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
            expand=True,
        )
        self.identity = self.bar.add_task(description, total=total)
        self.bar.update(self.identity, completed=done)  # which also sees that nothing is left to do

    def step(self, figures: StepFigures) -> None:
        """Takes in one step; it is drawn when the terminal is next refreshed."""
        self.trace.add(figures)
        self.bar.advance(self.identity)

    def __rich__(self) -> Panel:
        """The panel as it stands."""
        task = self.bar.tasks[0]
        speed = task.finished_speed or task.speed
        body = Group(self.bar.get_renderable(), self._rates(speed), self._losses())
        width = min(self.console.width, _WIDEST)
        return Panel(body, title=f"[bold]{self.description}[/]", title_align="left", box=box.ROUNDED, width=width)

    def _rates(self, speed: float | None) -> Text:
        parts = [f"{_short(self.images_per_step * speed)} img/s", f"{_short(speed)} steps/s"] if speed else []
        if self.trace.now:
            parts += [f"learning rate {self.trace.learning_rate:.2e}"]
            parts += [f"peak memory {memory_text(self.trace.peak_memory)}"]
        return Text(" · ".join(parts), style="cyan")

    def _losses(self) -> Table:
        """A row for the total, with its course, and for each loss."""
        trace = self.trace
        sheet = Table(box=None, expand=True, pad_edge=False, header_style="dim", show_header=bool(trace.now))
        sheet.add_column("", no_wrap=True)
        sheet.add_column("now", justify="right", no_wrap=True)
        sheet.add_column("smoothed", justify="right", no_wrap=True)
        sheet.add_column("total loss so far", ratio=1, no_wrap=True)
        for name, value in trace.now.items():
            course = Course(trace.course) if name == TOTAL else ""
            style = "bold" if name == TOTAL else ""
            sheet.add_row(name, f"{value:#.4g}", f"{trace.smoothed[name]:#.4g}", course, style=style)
        return sheet


def _short(rate: float) -> str:
    return f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"
