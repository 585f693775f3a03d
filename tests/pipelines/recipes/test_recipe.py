"""Recipes: shipped ones load, overrides are checked, TOML round-trips, cosmetic settings stay out of hashes."""

from pathlib import Path

import pytest

from pipelines.base.errors import ConcatError
from pipelines.base.settings import Settings
from pipelines.losses.cga_settings import CgaSettings
from pipelines.recipes.load import load_recipe, override, shipped_recipes, write_recipe
from pipelines.recipes.recipe import Recipe


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_and_round_trips(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    write_recipe(tmp_path / "recipe.toml", recipe)
    assert load_recipe(str(tmp_path / "recipe.toml")) == recipe


def test_smoke_changes_only_lengths_of_micrococo() -> None:
    smoke, micrococo = load_recipe("smoke"), load_recipe("micrococo")
    assert smoke.con.segmentor == micrococo.con.segmentor
    assert smoke.con.iterations < micrococo.con.iterations


def test_paper_scale_defaults_are_the_papers() -> None:
    recipe = load_recipe("concat_zps")
    assert (recipe.con.iterations, recipe.con.batch_size, recipe.cat.iterations) == (140350, 16, 36875)
    assert CgaSettings() == recipe.con.alignment["cga"]
    assert (CgaSettings().gamma, CgaSettings().temperature, CgaSettings().bank_size) == (2.0, 0.07, 32)
    assert (recipe.cat.contrast_weight, recipe.cat.supervision_weight, recipe.finetune.pseudo_unseen) == (
        0.1,
        0.01,
        150,
    )
    assert recipe.cat.optimiser.learning_rate == pytest.approx(10 * recipe.con.optimiser.learning_rate)
    assert recipe.finetune.optimiser.learning_rate == pytest.approx(0.1 * recipe.con.optimiser.learning_rate)


def test_overrides_take_numbers_lists_and_bare_words() -> None:
    recipe = override(
        Recipe(), ("con.iterations=7", "eval.sweep=[0, 1]", "clip.masked=crop", "con.alignment.cga.weight = 0")
    )
    assert list(recipe.con.alignment) == ["cga", "cia"]
    assert (recipe.con.iterations, recipe.eval.sweep, recipe.clip.masked) == (7, (0.0, 1.0), "crop")
    assert [alignment.weight for alignment in recipe.con.alignment.values()] == [0, 1]


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("con.iterations", "wants key=value"),
        ("con.iteration=7", "Unknown setting 'con.iteration'"),
        ("con.iterations.deep=7", "Unknown setting"),
        ("con.iterations=0", "con.iterations"),
        ("con.iterations=many", "con.iterations"),
        ("nothing.at.all=1", "Unknown setting"),
    ],
)
def test_a_bad_override_is_named(assignment: str, message: str) -> None:
    with pytest.raises(ConcatError, match=message):
        override(Recipe(), (assignment,))


def test_an_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(ConcatError) as caught:
        load_recipe("no_such")
    assert "micrococo" in (caught.value.mend or "")


def test_cosmetic_settings_do_not_matter() -> None:
    changed = override(Recipe(), ("con.log_every=1", "con.checkpoint_every=1"))
    assert changed.con.that_matter() == Recipe().con.that_matter()
    assert override(Recipe(), ("con.alignment.cga.gamma=1",)).con.that_matter() != Recipe().con.that_matter()


def _undocumented(model: type[Settings], prefix: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            found += _undocumented(field.annotation, f"{prefix}{name}.")
        elif not field.description:
            found.append(prefix + name)
    return found


def test_every_setting_is_documented() -> None:
    assert _undocumented(Recipe) == []


@pytest.mark.parametrize("value", ["0", "many"])
def test_a_setting_of_two_kinds_is_refused_by_its_name_and_with_both(value: str) -> None:
    with pytest.raises(ConcatError, match=r"^Setting con\.images_per_forward: .* or Input should be 'auto'\."):
        load_recipe("smoke", (f"con.images_per_forward={value}",))
