"""Paths of a recipe become absolute where they are typed; names do not, whatever lies beside them."""

from pathlib import Path

import pytest

from pipelines.recipes.load import override
from pipelines.recipes.paths import with_absolute_paths
from pipelines.recipes.recipe import Recipe


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("key", ["data.images", "data.val_labels", "clip.text_names", "runtime.cache"])
@pytest.mark.parametrize("typed", ["coco/train2017", "coco.zip/train2017", "../coco/train2017"])
def test_paths_need_not_exist_to_be_paths(tmp_path: Path, key: str, typed: str) -> None:
    section, name = key.split(".")
    recipe = with_absolute_paths(override(Recipe(), (f"{key}={typed}",)))
    assert getattr(getattr(recipe, section), name) == str((tmp_path / typed).resolve())


def test_absolute_and_missing_paths_stay_as_they_are(tmp_path: Path) -> None:
    recipe = override(Recipe(), (f'data.images="{tmp_path}/coco"',))
    assert with_absolute_paths(recipe) == recipe


def test_a_file_is_told_from_a_name(tmp_path: Path) -> None:
    (tmp_path / "own.toml").touch()
    (tmp_path / "micrococo").mkdir()
    named = override(Recipe(), ("clip.model=micrococo", "clip.pretrained=hf-hub:lab/clip-v1.5"))
    assert with_absolute_paths(named) == named
    typed = override(Recipe(), ("data.vocabulary=own.toml", "con.segmentor.backbone_weights=own.toml"))
    recipe = with_absolute_paths(typed)
    assert recipe.data.vocabulary == recipe.con.segmentor.backbone_weights == str(tmp_path / "own.toml")
