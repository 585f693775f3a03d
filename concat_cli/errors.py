"""Exceptions → one clear message and an exit code: 2 for what a user can mend, 130 for Ctrl-C."""

import functools
import logging
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from concat_cli.console import err, show_error
from pipelines.base.errors import ConcatError

Command = TypeVar("Command", bound=Callable[..., Any])


def command_line() -> str:
    """The command as typed, to be repeated; by its path, where the shell would not find it by its name."""
    name = "concat" if shutil.which("concat") in (None, sys.argv[0]) else sys.argv[0]
    return shlex.join([name, *sys.argv[1:]])


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
            show_error(error)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
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


def quieten_libraries() -> None:
    """Keeps the libraries' remarks out of a normal run; `--debug` shows them."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # loader processes
    for name in ("transformers", "timm", "open_clip", "lightning_fabric", "lightning.fabric", "huggingface_hub", "PIL"):
        logging.getLogger(name).setLevel(logging.ERROR)
