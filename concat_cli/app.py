"""The Typer app: the commands in the order in which they are used."""

import errno
import gc
import threading
from typing import Annotated

gc.disable()  # until all is imported, which makes many objects and no garbage: a tenth of a light command's time

import typer  # noqa: E402

from concat_cli.lazy import Lazy, group_of  # noqa: E402
from pipelines.stages.chain import STAGES  # noqa: E402

IN_ORDER, RUNS, USE = "Stages, in order", "Whole runs", "A finished run"
RESULTS, WORLD = "Data and results, anyone's", "The embedded world"

COMMANDS = {
    "split-coco": Lazy("split_coco:split_coco", IN_ORDER, STAGES[0].sections),
    "split-data": Lazy("split_data:split_data", IN_ORDER, STAGES[0].sections),
    **{s.name: Lazy("stages:stage_command", IN_ORDER, s.sections, arguments=(s,)) for s in STAGES[1:-1]},
    "eval": Lazy("evaluate:evaluate", IN_ORDER, STAGES[-1].sections),
    "run": Lazy("run:run", RUNS),
    "plan": Lazy("plan:plan", RUNS),
    "demo": Lazy("demo:demo", RUNS),
    "predict": Lazy("predict:predict", USE),
    "export": Lazy("export:export", USE),
    "teach": Lazy("teach:teach", USE),
    "report": Lazy("report:report", USE),
    "status": Lazy("check:status", RUNS),
    "verify": Lazy("check:verify", RUNS),
    "doctor": Lazy("doctor:doctor", RUNS),
    "check-data": Lazy("check_data:check_data", RESULTS),
    "score": Lazy("score:score", RESULTS),
    "compare": Lazy("compare:compare", RESULTS),
    "make-micrococo": Lazy("micrococo:make_micrococo", WORLD),
}

app = typer.Typer(
    name="concat",
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Teach a segmentor categories it has never seen a picture of: panoptic, semantic or instance.\n\n"
    "Five commands suffice: [bold]split-coco, train-con, train-cat, finetune, eval[/]; each brings its own missing or "
    "stale inputs up to date first. [bold]concat demo --run DIR[/] does it all on a small embedded world.",
)


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


def main() -> None:
    """The console script."""
    gc.freeze()  # what was imported stays; not for who imports this module among others
    threading.excepthook = _report_unless_disk_is_full
    app()


def _report_unless_disk_is_full(failure: threading.ExceptHookArgs) -> None:
    """A full disk is told once, by the stage; TensorBoard's writing thread would show its traceback besides."""
    if not (isinstance(failure.exc_value, OSError) and failure.exc_value.errno in (errno.ENOSPC, errno.EDQUOT)):
        threading.__excepthook__(failure)


gc.enable()
