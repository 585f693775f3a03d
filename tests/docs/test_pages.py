"""What pages say of the code is there: the method's functions, the picture's rooms, the toy generator."""

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from pipelines.generators.build import build_generator
from pipelines.recipes.load import override
from pipelines.recipes.recipe import Recipe

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| [^|]+ \| .* \| `(pipelines/[a-z0-9_/]+\.py)` \| ([^|]+) \|")


def _rows() -> list[tuple[str, str]]:
    lines = (ROOT / "docs/method.md").read_text(encoding="utf-8").splitlines()
    return [(m[1], name) for line in lines if (m := ROW.match(line)) for name in re.findall(r"`(\w+)`", m[2])]


def _generator(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/generate/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_equation_is_named() -> None:
    text = (ROOT / "docs/method.md").read_text(encoding="utf-8")
    named = {n for row in re.findall(r"(?m)^\| ([\d, ]+) \|", text) for n in re.findall(r"\d+", row)}
    assert {str(number) for number in (*range(1, 7), *range(8, 16))} <= named


@pytest.mark.parametrize(("file", "name"), _rows())
def test_a_function_of_the_table_stands_in_its_file(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_the_picture_of_the_rooms_is_that_of_the_code() -> None:
    rooms = _generator("rooms")
    assert rooms.drawn() == rooms.imports(), "run: python docs/generate/rooms.py"
    assert {room for floor in rooms.floors() for room in floor} == {
        path.name for path in (ROOT / "pipelines").iterdir() if (path / "__init__.py").exists()
    }


def test_every_floor_stands_in_the_table_of_rooms() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for floor in _generator("rooms").floors():
        for room in floor:
            assert f"`{room}`" in text


def test_the_generator_of_the_walk_through_works(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = next(code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "TOY = " in code)
    (tmp_path / "own.py").write_text(code)
    settings = override(
        Recipe(), (f"cat.generator.kind={tmp_path}/own.py:TOY", "cat.generator.noise=0.2")
    ).cat.generator
    generator = build_generator(settings, query_dim=3, text_dim=4)
    assert generator.generate(torch.eye(2, 4), torch.Generator()).shape == (2, 3)


def test_the_citation_is_complete() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "preferred-citation"} <= set(cited)
    assert len(cited["preferred-citation"]["authors"]) == 4


def test_every_command_and_setting_stands_in_the_generated_pages() -> None:
    from concat_cli.app import COMMANDS

    sys.path.insert(0, str(ROOT / "docs/generate"))
    try:
        reference = _generator("reference")
    finally:
        sys.path.pop(0)
    commands, settings = reference.commands_page(), reference.settings_page()
    for name in COMMANDS:
        assert f"### concat {name}\n" in commands
    for key in ("con.alignment.cga.gamma", "cat.generator.kind=gmmn", "eval.increment", "runtime.threads"):
        assert f"`{key}`" in settings
