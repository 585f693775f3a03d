"""predict: pictures of one's own, by any names."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from concat_cli.console import RichReporter, err, out, table
from concat_cli.errors import guarded
from concat_cli.options import Cache, Debug, Json
from pipelines.base.errors import ConcatError
from pipelines.base.progress import SilentReporter
from pipelines.base.terms import Setting, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipelines.data.files.find_photos import FoundPhoto
    from pipelines.predict.prediction_files import Row
    from pipelines.predict.segmenter import Segmenter

EXAMPLES = """[bold]Examples[/]
  [dim]A folder, by the run's own names[/]
  concat predict photos --run runs/zps
  [dim]Names typed on the spot: synonyms by ;, stuff marked if no list knows it[/]
  concat predict 'photos/*.jpg' --run runs/zps \\
    --vocabulary "cow; cattle, e-scooter, asphalt \\[stuff]"
  [dim]An exported model, another data set's names, a category for each pixel[/]
  concat predict street.jpg --run zps.concat --vocabulary ade150 \\
    --task semantic"""

FEW = 3  # images whose tables are printed


@dataclass
class _Report:
    """What became of the images."""

    read: list[FoundPhoto] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    tables: list[tuple[str, list[Row]]] = field(default_factory=list)
    seconds: float = 0.0


@guarded
def predict(
    images: Annotated[
        list[str], typer.Argument(help="Folders, files or globs.", metavar="IMAGES…", show_default=False)
    ],
    run: Annotated[Path, typer.Option("--run", help="Run directory, or file that `concat export` wrote.")],
    vocabulary: Annotated[
        str | None,
        typer.Option(
            help="Typed names, a shipped vocabulary, or a file (.toml, .json, or text with a name a line).",
            show_default="the run's own names",
        ),
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option(metavar="TASK", help="panoptic, semantic or instance.", show_default="the run's"),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Where predictions go.", file_okay=False)] = Path("predictions"),
    threshold: Annotated[
        float | None,
        typer.Option(help="Least score of a segment or instance.", min=0, max=1, show_default="the recipe's"),
    ] = None,
    increment: Annotated[
        float | None,
        typer.Option(
            help="Added to the logits of names unknown to training.",
            show_default="0 for the finetuned projector, else the recipe's",
        ),
    ] = None,
    setting: Annotated[
        Setting | None,
        typer.Option(
            metavar="SETTING",
            help="inductive (the projector of train-con) or transductive (the finetuned one).",
            show_default="transductive, if there is one",
        ),
    ] = None,
    max_side: Annotated[
        int | None,
        typer.Option(help="Look at pictures with their longer side at most so long (px).", min=32),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Images a forward pass, of one size (images).", min=1)] = 1,
    json_output: Json = False,
    cache: Cache = None,
    debug: Debug = False,
) -> None:
    """Segment your own pictures by any names: overlays, tables, and the form that the official tools read."""
    from pipelines.data.files.find_photos import find_photos

    found = find_photos(images, outside=folder)
    if not found:
        raise ConcatError(f"No images found in {', '.join(images)}.", mend="Name folders, files or a 'quoted/*.jpg'.")
    from pipelines.predict.segmenter import Segmenter

    options: dict[str, Any] = {
        "task": task,
        "setting": setting,
        "threshold": threshold,
        "increment": increment,
        "max_side": max_side,
        "batch_size": batch_size,
    }
    segmenter = Segmenter.load(run, device=device, cache=cache)
    report = _predict(segmenter, found, vocabulary, folder, options, quiet=json_output)
    _show_json(report, folder) if json_output else _show(report, folder)
    if report.failed:
        raise typer.Exit(2)


def _predict(
    segmenter: Segmenter,
    found: list[FoundPhoto],
    vocabulary: str | None,
    folder: Path,
    options: dict[str, Any],
    *,
    quiet: bool,
) -> _Report:
    """Predicts and writes image after image; whatever ends it, the jsons list what was written."""
    from pipelines.predict.prediction_files import PredictionFiles

    report, files = _Report(), PredictionFiles(folder)
    predictions = segmenter.predict_all(_readable(found, report), vocabulary, **options)
    reporter, start = SilentReporter() if quiet else RichReporter(), time.monotonic()
    try:
        with reporter.task("predict", len(found)) as progress:
            for number, prediction in enumerate(predictions):
                name = files.add(report.read[number].name, prediction)
                report.tables.append((name, prediction.table()))
                progress.advance()
            progress.advance(len(report.failed))
    finally:
        files.finish()
    report.seconds = time.monotonic() - start
    return report


def _readable(found: list[FoundPhoto], report: _Report) -> Iterator[NDArray[np.uint8]]:
    """The pixels of the images that can be read; the others are noted."""
    from pipelines.data.formats.photo import pixels_of

    for photo in found:
        try:
            pixels = pixels_of(photo.path)
        except ConcatError as error:
            report.failed.append((photo.path, error.message))
            continue
        report.read.append(photo)
        yield pixels


def _show(report: _Report, folder: Path) -> None:
    for name, rows in report.tables if len(report.tables) <= FEW else []:
        lines = [_line(row) for row in rows]
        table(escape(name), ["name", "kind", "score", "share", "x, y, width, height"], lines, texts=2)
    done = len(report.tables)
    if done:
        rate = done / max(report.seconds, 1e-9)
        what = "1 image" if done == 1 else f"{done} images"
        out.print(f"{what} in {report.seconds:.1f} s, {rate:.1f} img/s: {escape(str(folder))}", soft_wrap=True)
    if report.failed:
        others = "; the others are done" if done else ""
        total = done + len(report.failed)
        err.print(f"[bold red]Error[/]  {len(report.failed)} of {total} images cannot be used{others}.")
        for path, message in report.failed:
            err.print(f"  {escape(str(path))}: {escape(message)}", soft_wrap=True)


def _line(row: Row) -> list[str]:
    name = f"★ {row.name}" if row.unseen else row.name
    score = "" if row.score is None else f"{row.score:.2f}"
    return [escape(name), row.kind, score, f"{row.share:.1f} %", f"{row.x}, {row.y}, {row.width}, {row.height}"]


def _show_json(report: _Report, folder: Path) -> None:
    named = zip(report.read, report.tables, strict=False)
    shown = {
        "out": str(folder),
        "images": [
            {"file": str(photo.path), "name": name, "segments": [row._asdict() for row in rows]}
            for photo, (name, rows) in named
        ],
        "failed": [{"file": str(path), "message": message} for path, message in report.failed],
        "images_per_second": round(len(report.tables) / max(report.seconds, 1e-9), 2),
    }
    typer.echo(json.dumps(shown, indent=1))
