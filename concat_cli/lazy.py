"""Commands that are imported when they are used, so that the others do not make one wait."""

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info
from typer.models import CommandInfo

from concat_cli.settings_help import command_with_settings


@dataclass(frozen=True)
class Lazy:
    """A command.

    Attributes:
        function: "module:name", below `concat_cli.commands`.
        panel: of the list of commands.
        sections: of the recipe whose settings stand in its help.
        arguments: what makes the function, where it is made; empty: it is the function itself.
    """

    function: str
    panel: str
    sections: tuple[str, ...] = ()
    arguments: tuple[Any, ...] = ()

    def load(self, name: str) -> Any:
        """Imports the function and makes the command."""
        module, _, attribute = self.function.partition(":")
        imported = import_module(f"concat_cli.commands.{module}")
        function = getattr(imported, attribute)
        info = CommandInfo(
            name,
            cls=command_with_settings(*self.sections) if self.sections else TyperCommand,
            callback=function(*self.arguments) if self.arguments else function,
            epilog=getattr(imported, "EXAMPLES", None),
            rich_help_panel=self.panel,
        )
        return get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode="rich")


class _Commands(MutableMapping[str, Any]):
    """Commands by name, each imported when it is asked for."""

    def __init__(self, listed: Mapping[str, Lazy]) -> None:
        self.listed, self.loaded = listed, dict[str, Any]()

    def __getitem__(self, name: str) -> Any:
        if name not in self.loaded:
            self.loaded[name] = self.listed[name].load(name)
        return self.loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self.loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.listed, **self.loaded})

    def __len__(self) -> int:
        return len({**self.listed, **self.loaded})


def group_of(listed: Mapping[str, Lazy]) -> type[TyperGroup]:
    """A group of these commands, in their order."""

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands = _Commands(listed)

    return LazyGroup
