"""A run from options: what it remembers, and when."""

from pathlib import Path

import pytest

from concat_cli.runs import open_run
from pipelines.recipes.load import write_recipe


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_remembers_its_cache_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    first = open_run(run, recipe="smoke", cache=Path("big"))
    write_recipe(run / "recipe.toml", first.recipe)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert first.cache == open_run(run, cache=None).cache == tmp_path / "big"
    assert open_run(run, cache=tmp_path / "other").cache == tmp_path / "other"


def test_without_one_the_cache_lies_here(tmp_path: Path) -> None:
    assert open_run(tmp_path / "run", recipe="smoke", cache=None).cache == tmp_path / "cache"


def test_opening_a_run_writes_nothing(tmp_path: Path) -> None:
    opened = open_run(tmp_path / "run", recipe="smoke", cache=None, settings=["con.iterations=3"])
    assert opened.recipe.con.iterations == 3
    assert not list(tmp_path.iterdir())
