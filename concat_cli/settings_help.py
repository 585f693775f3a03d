"""The settings of a stage at the foot of its `--help`: meaning, unit and default, and those of each kind of a part."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from rich.markup import escape
from typer.core import TyperCommand

from pipelines.base.parts import PartSettings, PartTable, table_of
from pipelines.base.settings import Settings
from pipelines.recipes.load import override
from pipelines.recipes.recipe import Recipe

_TITLE = "[bold]Settings[/] [dim](--set KEY=VALUE; defaults at the papers' scale, a recipe may differ)[/]"


def command_with_settings(*sections: str) -> type[TyperCommand]:
    """A command whose help lists every setting of sections of the recipe, and of the runtime.

    `--set con.segmentor.kind=maskformer --help` shows the settings of that kind, one's own kinds included.
    """

    class CommandWithSettings(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            ctx.meta[__name__] = list(args)  # the help is shown before options are read
            return super().parse_args(ctx, args)

        def format_help(self, ctx: Any, formatter: Any) -> None:
            recipe = override(Recipe(), tuple(_kinds_set(ctx.meta.get(__name__, []))))
            self.epilog = "\n".join([_TITLE, *settings_lines(recipe, (*sections, "runtime"))])
            super().format_help(ctx, formatter)

    return CommandWithSettings


def settings_lines(recipe: Recipe, sections: Sequence[str]) -> Iterator[str]:
    """A line for each setting of the sections."""
    for section in sections:
        for key, value, meaning in _rows(getattr(recipe, section), section):
            shown = f" [dim]= {escape(value)}[/]" if value else ""
            yield f"  [cyan]{key}[/]{shown}  {escape(meaning)}"


def settings_rows(section: str) -> Iterator[tuple[str, str, str]]:
    """Key, default and meaning of every setting of a section."""
    yield from _rows(getattr(Recipe(), section), section)


def _kinds_set(args: Sequence[str]) -> Iterator[str]:
    """The kinds among the `--set KEY=VALUE` of a command line."""
    for option, value in pairwise(args):
        if option == "--set" and value.partition("=")[0].strip().endswith(".kind"):
            yield value


def _rows(settings: Settings, prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in type(settings).model_fields.items():
        value, key = getattr(settings, name), f"{prefix}.{name}"
        table = table_of(field)
        if table and isinstance(value, dict):
            yield f"{key}.NAME", "", field.description or ""
            for entry, inner in value.items():
                yield from _rows(inner, f"{key}.{entry}")
        elif table:
            yield from _rows(value, key)
            yield from _other_kinds(value, key, table)
        elif isinstance(value, Settings):
            yield from _rows(value, key)
        else:
            yield key, str(list(value) if isinstance(value, tuple) else value) or "''", field.description or ""


def _other_kinds(chosen: PartSettings, key: str, table: PartTable) -> Iterator[tuple[str, str, str]]:
    """The other kinds of a part, with the settings that they have besides."""
    for kind, part in table.parts.items():
        if kind == chosen.kind:
            continue
        own = [name for name in part.settings.model_fields if name not in type(chosen).model_fields]
        about = (part.settings.__doc__ or "").splitlines()[0]
        yield f"{key}.kind={kind}", "", about + (f" Has {', '.join(own)} besides." if own else "")
