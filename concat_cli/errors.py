"""Exceptions → one clear message and an exit code: 2 for what a user can mend, 130 for Ctrl-C."""

import functools
import logging
import os
import re
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, Final, TypeVar

import typer

from concat_cli.console import err, show_error
from pipelines.base.errors import ConcatError
from pipelines.base.ranks import COMMAND, process_count, process_rank

_LOST: Final = re.compile(r"gloo|NCCL|[Cc]onnection (closed|reset)|peer|TCPStore|Broken pipe")
_PATIENCE: Final = 5.0  # seconds

Command = TypeVar("Command", bound=Callable[..., Any])


def command_line() -> str:
    """The command as typed, to be repeated; by its path, where the shell would not find it by its name."""
    if COMMAND in os.environ:
        return os.environ[COMMAND]
    name = "concat" if shutil.which("concat") in (None, sys.argv[0]) else sys.argv[0]
    return shlex.join([name, *sys.argv[1:]])


def how_to_resume() -> str:
    """What mends a run that was ended from outside."""
    return f"`{command_line()}` resumes; nothing finished is lost."


def guarded(command: Command) -> Command:
    """Wraps a command so that it ends with a message and not with a traceback, unless its option `debug` is set."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        debug = bool(kwargs.get("debug"))
        if not debug:
            quieten_libraries()
        try:
            return command(*args, **kwargs)
        except ConcatError as error:
            if debug:
                raise
            _let_the_first_speak()
            show_error(error)
            raise typer.Exit(2) from None
        except RuntimeError as error:
            if debug or process_count() == 1 or not _LOST.search(str(error)):
                raise
            time.sleep(_PATIENCE)  # whoever started us ends us meanwhile, and says why
            show_error(ConcatError("Another process of this run ended.", mend=how_to_resume()))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            if process_rank() > 0:
                raise typer.Exit(130) from None
            err.print(f"\nStopped. Nothing finished is lost; this resumes:\n  {command_line()}", soft_wrap=True)
            raise typer.Exit(130) from None
        except OSError as error:
            if debug:
                raise
            show_error(
                ConcatError(
                    f"{error.strerror or error}.",
                    file=error.filename,
                    mend="Check that the path exists, can be read and written, and that the disk has room.",
                )
            )
            raise typer.Exit(2) from None

    return wrapper  # type: ignore[return-value]


def _let_the_first_speak() -> None:
    """What is wrong with the settings is wrong in every process; the first one says it, and the others are ended."""
    if process_rank() > 0:
        time.sleep(_PATIENCE)


def quieten_libraries() -> None:
    """Keeps the libraries' remarks out of a normal run; `--debug` shows them."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # loader processes
    for name in ("transformers", "timm", "open_clip", "lightning_fabric", "lightning.fabric", "huggingface_hub", "PIL"):
        logging.getLogger(name).setLevel(logging.ERROR)
