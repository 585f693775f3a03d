"""The Typer app: the commands in the order in which they are used."""

import errno
import os
import threading
from typing import Annotated

import typer

# Two spinning OpenMP threads slow a step several times when another process is busy; read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")

from concat_cli.commands import (
    check,
    check_data,
    compare,
    demo,
    evaluate,
    export,
    micrococo,
    predict,
    report,
    run,
    score,
    split_coco,
    split_data,
    stages,
    teach,
)
from concat_cli.settings_help import command_with_settings
from pipelines.stages.chain import STAGES

app = typer.Typer(
    name="concat",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Teach a segmentor categories it has never seen a picture of: panoptic, semantic or instance.\n\n"
    "Five commands suffice: [bold]split-coco, train-con, train-cat, finetune, eval[/]; each brings its own missing or "
    "stale inputs up to date first. [bold]concat demo --run DIR[/] does it all on a small embedded world.",
)

IN_ORDER, RUNS, USE = "Stages, in order", "Whole runs", "A finished run"
RESULTS, WORLD = "Data and results, anyone's", "The embedded world"


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"concat {version('concat-zeroshot')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


_with_settings = {stage.name: command_with_settings(*stage.sections) for stage in STAGES}
app.command("split-coco", cls=_with_settings["split-coco"], rich_help_panel=IN_ORDER)(split_coco.split_coco)
app.command("split-data", cls=_with_settings["split-coco"], rich_help_panel=IN_ORDER)(split_data.split_data)
for _stage in STAGES[1:-1]:
    app.command(_stage.name, cls=_with_settings[_stage.name], rich_help_panel=IN_ORDER)(stages.stage_command(_stage))
app.command("eval", cls=_with_settings["eval"], rich_help_panel=IN_ORDER)(evaluate.evaluate)
app.command("run", rich_help_panel=RUNS)(run.run)
app.command("demo", rich_help_panel=RUNS)(demo.demo)
app.command("predict", rich_help_panel=USE, epilog=predict.EXAMPLES)(predict.predict)
app.command("export", rich_help_panel=USE)(export.export)
app.command("teach", rich_help_panel=USE)(teach.teach)
app.command("report", rich_help_panel=USE, epilog=report.EXAMPLES)(report.report)
app.command("status", rich_help_panel=RUNS)(check.status)
app.command("verify", rich_help_panel=RUNS)(check.verify)
app.command("check-data", rich_help_panel=RESULTS)(check_data.check_data)
app.command("score", rich_help_panel=RESULTS, epilog=score.EXAMPLES)(score.score)
app.command("compare", rich_help_panel=RESULTS, epilog=compare.EXAMPLES)(compare.compare)
app.command("make-micrococo", rich_help_panel=WORLD)(micrococo.make_micrococo)


def main() -> None:
    """The console script."""
    threading.excepthook = _report_unless_disk_is_full
    app()


def _report_unless_disk_is_full(failure: threading.ExceptHookArgs) -> None:
    """A full disk is told once, by the stage; TensorBoard's writing thread would show its traceback besides."""
    if not (isinstance(failure.exc_value, OSError) and failure.exc_value.errno in (errno.ENOSPC, errno.EDQUOT)):
        threading.__excepthook__(failure)
