"""The help a newcomer reads: complete, in order, quick."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from concat_cli.app import app
from concat_cli.commands.stages import SECTIONS
from pipelines.recipes.recipe import Recipe, Settings

STAGES = ["split-coco", "precompute", "train-con", "dump-queries", "train-cat", "finetune", "eval"]


def _help(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "220", "TERM": "dumb"})
    return result.output


def _paths(model: Settings, prefix: str) -> list[str]:
    found = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        found += _paths(value, f"{prefix}.{name}") if isinstance(value, Settings) else [f"{prefix}.{name}"]
    return found


def test_concat_alone_lists_the_stages_in_order() -> None:
    text = _help()
    places = [text.index(f" {name} ") for name in STAGES]
    assert places == sorted(places)
    others = (
        "split-data",
        "run",
        "demo",
        "status",
        "verify",
        "predict",
        "export",
        "teach",
        "report",
        "check-data",
        "score",
    )
    for name in (*others, "compare", "make-micrococo"):
        assert re.search(rf"│ {name} ", text)


@pytest.mark.parametrize("stage", STAGES)
def test_every_setting_of_a_stage_stands_in_its_help_with_its_default(stage: str) -> None:
    text = " ".join(_help(stage, "--help").split())
    for section in (*SECTIONS[stage], "runtime"):
        for path in _paths(getattr(Recipe(), section), section):
            assert f"{path} = " in text, path
    for option in ("--run", "--seed", "--device", "--set", "--force", "--debug", "--cache"):
        assert option in text


@pytest.mark.parametrize("command", ["predict", "teach"])
def test_the_mark_of_a_stuff_is_not_taken_for_markup(command: str) -> None:
    assert "[stuff]" in _help(command, "--help")


def test_help_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, concat_cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_readme_has_no_gap_and_its_picture_is_there() -> None:
    root = Path(__file__).parents[2]
    text = (root / "README.md").read_text()
    assert not re.search(r"\{[A-Z_]+\}", text)
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
        assert (root / picture).is_file()
    known = {command.name for command in app.registered_commands}
    for command in re.findall(r"(?m)^concat ([a-z-]+)", text) + re.findall(r"`concat ([a-z-]+)", text):
        assert command in known
