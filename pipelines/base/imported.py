"""What a name stands for, imported when it is needed and not before."""

from importlib import import_module
from typing import Any


def imported(what: Any) -> Any:
    """What "module:name" stands for; anything but text stands for itself."""
    if not isinstance(what, str):
        return what
    module, _, name = what.partition(":")
    return getattr(import_module(module), name)
