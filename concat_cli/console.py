"""Progress, tables and the error panel."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
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
from rich.table import Table
from rich.text import Text

from concat_cli.plain_progress import PlainTask, PlainTraining, figures_text
from concat_cli.training_panel import TrainingPanel
from pipelines.base.errors import ConcatError
from pipelines.base.progress import Task, TrainingTask

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


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


class RichReporter:
    """Shows progress bars on a terminal and plain lines elsewhere."""

    @contextmanager
    def task(self, description: str, total: int, done: int = 0, unit: str = "img") -> Iterator[Task]:
        """A bar with count, rate, time used and time left."""
        if not out.is_terminal:
            plain = PlainTask(out, description, total, done, unit)
            yield plain
            plain.finish()
            return
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
        with Progress(*columns, console=out) as progress:
            identity = progress.add_task(description, total=total, unit=unit, figures="")
            progress.update(identity, completed=done)  # which also sees that nothing is left to do
            yield LiveTask(progress, identity)

    @contextmanager
    def training(self, description: str, total: int, done: int, images_per_step: int) -> Iterator[TrainingTask]:
        """A live panel; it stays as it ended, and so does the terminal when the training is broken off."""
        if not out.is_terminal:
            plain = PlainTraining(out, description, total, done, images_per_step)
            yield plain
            plain.finish()
            return
        panel = TrainingPanel(out, description, total, done, images_per_step)
        with Live(panel, console=out, refresh_per_second=4):
            yield panel

    def say(self, text: str) -> None:
        """One remark."""
        out.print(f"[cyan]›[/] {escape(text)}", soft_wrap=not out.is_terminal)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1) -> None:
    """Prints a table; the first `texts` columns are text, the others figures."""
    sheet = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        sheet.add_column(column, justify="left" if index < texts else "right")
    for row in rows:
        sheet.add_row(*row)
    out.print(sheet)


def show_error(error: ConcatError) -> None:
    """What is wrong, which file, how to mend it; unbroken lines, so that paths and commands can be copied."""
    lines = [f"[bold red]Error[/]  {escape(error.message)}"]
    if error.file is not None:
        lines.append(f"[bold]File[/]   {escape(str(error.file))}")
    if error.mend:
        lines.append(f"[bold]Mend[/]   {escape(error.mend)}")
    err.print("\n".join(lines), soft_wrap=True)
