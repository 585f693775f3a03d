"""The pages of every command and of every setting, from the Typer app and the pydantic models."""

import re
from collections.abc import Iterator
from typing import Any

import typer

from concat_cli.app import COMMANDS, app
from concat_cli.settings_help import settings_rows
from pipelines.recipes.load import shipped_recipes
from pipelines.recipes.recipe import Recipe
from pipelines.stages.chain import STAGES

_MARKUP = re.compile(r"\[/?(?:bold|dim|cyan)?\]")


def commands_page() -> str:
    """Every command with its arguments and options, in the order of `concat --help`."""
    parts = ["# Every command", "Made from the code; `concat COMMAND --help` says the same."]
    group = typer.main.get_command(app)
    panel = ""
    for name in COMMANDS:
        command: Any = group.commands[name]
        if command.rich_help_panel != panel:
            panel = command.rich_help_panel
            parts.append(f"## {panel}")
        parts.append(f"### concat {name}")
        parts.append(_plain(command.help or ""))
        parts.append("\n".join(_parameters(command)))
    return "\n\n".join(parts) + "\n"


def _parameters(command: Any) -> Iterator[str]:
    yield "| argument or option | means | default |"
    yield "|---|---|---|"
    for parameter in command.params:
        if parameter.name == "help":
            continue
        names = ", ".join(f"`{name}`" for name in parameter.opts)
        default = getattr(parameter, "show_default", "")
        if not isinstance(default, str):
            default = "" if parameter.default in (None, False, ()) else f"`{parameter.default}`"
        default = "required" if parameter.required else default
        yield f"| {names} | {_cell(parameter.help or '')} | {_cell(default)} |"


def settings_page() -> str:
    """Every setting of every section, with those of each kind of a part."""
    parts = [
        "# Every setting",
        "Made from the code. `--set KEY=VALUE` changes one, a recipe in TOML many; defaults are the papers' at their "
        f"scale. Shipped recipes: {', '.join(f'`{name}`' for name in shipped_recipes())}.",
        "A part has a *kind*, which brings settings of its own: `concat train-con --set con.segmentor.kind=maskformer "
        "--help` lists those. `FILE.py:NAME` is a part of one's own (see [Contributing](contributing.md)).",
    ]
    for section in [*(section for stage in STAGES for section in stage.sections), "runtime"]:
        parts.append(f"## {section}")
        parts.append(_plain(type(getattr(Recipe(), section)).__doc__ or ""))
        rows = ["| setting | default | means |", "|---|---|---|"]
        rows += [f"| `{key}` | {_value(value)} | {_cell(meaning)} |" for key, value, meaning in settings_rows(section)]
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _value(value: str) -> str:
    return f"`{value}`" if value else ""


def _plain(text: str) -> str:
    """Help as markdown: rich's markup goes, lines stay as they are."""
    return _MARKUP.sub("", re.sub(r"\n +", "\n", text).strip()).replace("\\[", "[")


def _cell(text: str) -> str:
    return _plain(str(text)).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
