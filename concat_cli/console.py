"""Progress, tables and the error panel."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from concat_cli.plain_progress import PlainTask, PlainTraining
from pipelines.base.errors import ConcatError
from pipelines.base.progress import Task, TrainingTask
from pipelines.base.ranks import process_rank

out = Console(highlight=False, quiet=process_rank() > 0)
err = Console(stderr=True, highlight=False)


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
        from concat_cli.live import live_task  # a terminal's, which takes a moment to import

        with live_task(out, description, total, done, unit) as bar:
            yield bar

    @contextmanager
    def training(self, description: str, total: int, done: int, images_per_step: int) -> Iterator[TrainingTask]:
        """A live panel; it stays as it ended, and so does the terminal when the training is broken off."""
        if not out.is_terminal:
            plain = PlainTraining(out, description, total, done, images_per_step)
            yield plain
            plain.finish()
            return
        from concat_cli.live import live_training

        with live_training(out, description, total, done, images_per_step) as panel:
            yield panel

    def say(self, text: str) -> None:
        """One remark."""
        out.print(f"[cyan]›[/] {escape(text)}", soft_wrap=not out.is_terminal)


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    texts: int = 1,
    unbroken: Collection[int] = (),
) -> None:
    """Prints a table; the first `texts` columns are text, the others figures; lines of `unbroken` ones stay whole."""
    sheet = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        sheet.add_column(column, justify="left" if index < texts else "right", no_wrap=index in unbroken)
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
