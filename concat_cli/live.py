"""Progress on a terminal: bars, and a panel while a stage trains."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as RichTask
from rich.text import Text

from concat_cli.plain_progress import figures_text
from concat_cli.training_panel import TrainingPanel


class RateColumn(ProgressColumn):
    """Units a second."""

    def render(self, task: RichTask) -> Text:
        """`12.3 img/s`, or nothing before the first unit."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {task.fields['unit']}/s" if speed else "", style="dim")


class LiveTask:
    """A bar on a terminal."""

    def __init__(self, progress: Progress, identity: TaskID) -> None:
        self.progress, self.identity = progress, identity

    def advance(self, n: int = 1, **figures: float) -> None:
        """Moves the bar and shows the figures beside it."""
        if figures:
            self.progress.update(self.identity, figures=figures_text(figures))
        self.progress.advance(self.identity, n)


@contextmanager
def live_task(console: Console, description: str, total: int, done: int, unit: str) -> Iterator[LiveTask]:
    """A bar with count, rate, time used and time left."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]left[/]"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console) as progress:
        identity = progress.add_task(description, total=total, unit=unit, figures="")
        progress.update(identity, completed=done)  # which also sees that nothing is left to do
        yield LiveTask(progress, identity)


@contextmanager
def live_training(
    console: Console, description: str, total: int, done: int, images_per_step: int
) -> Iterator[TrainingPanel]:
    """A panel that stays as it ended."""
    panel = TrainingPanel(console, description, total, done, images_per_step)
    with Live(panel, console=console, refresh_per_second=4):
        yield panel
