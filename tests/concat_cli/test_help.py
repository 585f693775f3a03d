"""The help a newcomer reads: complete, in order, quick."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from concat_cli.app import COMMANDS, app
from pipelines.base.settings import Settings, inner_settings
from pipelines.recipes.recipe import Recipe
from pipelines.runs.run import Stage
from pipelines.stages.chain import STAGES


def _help(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "220", "TERM": "dumb"})
    return result.output


def _paths(model: Settings, prefix: str) -> list[str]:
    return [
        f"{path}.{name}"
        for path, inner in inner_settings(model, prefix)
        for name in type(inner).model_fields
        if not isinstance(getattr(inner, name), Settings | dict)
    ]


def test_a_kind_of_a_part_brings_its_own_settings_into_the_help() -> None:
    usual = " ".join(_help("train-con", "--help").split())
    assert "con.segmentor.encoder_layers = 6" in usual
    assert "con.segmentor.kind=maskformer" in usual
    other = " ".join(_help("train-con", "--set", "con.segmentor.kind=maskformer", "--help").split())
    assert "con.segmentor.encoder_layers" not in other
    assert "con.segmentor.kind=mask2former" in other
    assert "encoder_layers, initialisation besides" in other


def test_concat_alone_lists_the_stages_in_order() -> None:
    text = _help()
    places = [text.index(f" {stage.name} ") for stage in STAGES]
    assert places == sorted(places)
    others = (
        "split-data",
        "run",
        "plan",
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


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_setting_of_a_stage_stands_in_its_help_with_its_default(stage: Stage) -> None:
    text = " ".join(_help(stage.name, "--help").split())
    for section in (*stage.sections, "runtime"):
        for path in _paths(getattr(Recipe(), section), section):
            assert f"{path} = " in text, path
    for option in ("--run", "--seed", "--device", "--set", "--force", "--debug", "--cache"):
        assert option in text


@pytest.mark.parametrize("command", ["predict", "teach"])
def test_the_mark_of_a_stuff_is_not_taken_for_markup(command: str) -> None:
    assert "[stuff]" in _help(command, "--help")


def test_the_readme_has_no_gap_and_its_picture_is_there() -> None:
    root = Path(__file__).parents[2]
    text = (root / "README.md").read_text()
    assert not re.search(r"\{[A-Z_]+\}", text)
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
        assert (root / picture).is_file()
    known = set(COMMANDS)
    for command in re.findall(r"(?m)(?:^|`)concat ([a-z][a-z-]*)", text):
        assert command in known
