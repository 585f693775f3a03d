"""One command in several processes of this machine: torchrun's agent starts them, watches them and ends them all."""

import logging
import os
import sys

import typer

from concat_cli.errors import command_line, how_to_resume
from pipelines.base.errors import ConcatError
from pipelines.base.ranks import COMMAND, process_count

_MENDABLE, _INTERRUPTED = 2, 130


def relaunched(devices: int | None) -> bool:
    """Runs the command that was typed in as many processes, if several are asked for; whether it did.

    Raises:
        typer.Exit: a process ended with a message of its own, or Ctrl-C ended all.
        ConcatError: a process was ended from outside.
    """
    if not devices or devices == 1 or process_count() > 1:
        return False
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    os.environ |= {COMMAND: command_line(), "TORCH_CPP_LOG_LEVEL": "ERROR"}
    config = LaunchConfig(
        run_id=str(os.getpid()),
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "concat_cli", *_without_devices(sys.argv[1:]))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode in (_MENDABLE, _INTERRUPTED):
            raise typer.Exit(failure.exitcode) from None
        how = f"signal {-failure.exitcode}" if failure.exitcode < 0 else f"exit code {failure.exitcode}"
        raise ConcatError(
            f"Process {rank} of {devices} ended with {how}, and so all were ended.", mend=how_to_resume()
        ) from None
    except SignalException:
        raise KeyboardInterrupt from None
    return True


def _without_devices(arguments: list[str]) -> list[str]:
    kept, skip = [], False
    for argument in arguments:
        if not skip and not argument.startswith("--devices"):
            kept.append(argument)
        skip = argument == "--devices"
    return kept
