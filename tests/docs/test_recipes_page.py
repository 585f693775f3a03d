"""The page of the papers' values against the recipes that are shipped."""

import fnmatch
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.recipes.load import load_recipe, shipped_recipes

PAGE = Path(__file__).parents[2] / "docs/recipes.md"
PAPER_SCALE = [name for name in shipped_recipes() if not name.startswith(("smoke", "micrococo"))]


def _rows() -> list[tuple[str, str, list[str]]]:
    rows = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `"):
            patterns = [pattern.strip() for pattern in cells[2].split(",")]
            names = [name for name in PAPER_SCALE if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
            assert all(fnmatch.filter(PAPER_SCALE, pattern) for pattern in patterns), line
            rows.append((cells[0].strip("`"), cells[1], names))
    return rows


def _value(recipe: str, setting: str) -> Any:
    value: Any = load_recipe(recipe)
    for part in setting.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


def _read(text: str, like: Any) -> Any:
    if isinstance(like, tuple):
        return tuple(json.loads(part) for part in text.split(","))
    return text if isinstance(like, str) else json.loads(text)


@pytest.mark.parametrize(("setting", "text", "recipes"), _rows(), ids=lambda own: own if isinstance(own, str) else "")
def test_recipes_say_what_the_page_says(setting: str, text: str, recipes: list[str]) -> None:
    assert recipes
    for recipe in recipes:
        value = _value(recipe, setting)
        assert value == _read(text, value), recipe


def test_no_recipe_has_two_values_and_every_one_stands_in_the_table() -> None:
    seen: dict[tuple[str, str], str] = {}
    for setting, text, recipes in _rows():
        for recipe in recipes:
            assert seen.setdefault((setting, recipe), text) == text
    assert {recipe for _, recipe in seen} == set(PAPER_SCALE)


def test_what_recipes_of_one_scale_differ_in_stands_in_the_table() -> None:
    """Whatever a paper's recipe states besides names and paths has its row."""
    listed = {setting for setting, _, _ in _rows()}
    plain = load_recipe("concat_zps")
    for name in PAPER_SCALE:
        recipe = load_recipe(name)
        for section in ("input", "optimiser", "matching"):
            own, other = getattr(recipe.con, section), getattr(plain.con, section)
            for setting in type(own).model_fields:
                differs = getattr(own, setting) != getattr(other, setting)
                assert not differs or f"con.{section}.{setting}" in listed, (name, setting)
