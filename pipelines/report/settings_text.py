"""Settings as flat lines, and how those of several recipes differ."""

from collections.abc import Sequence
from typing import Any

from pipelines.recipes.load import load_recipe, shipped_recipes
from pipelines.recipes.recipe import Recipe


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """`{"con": {"batch_size": 8}}` as `{"con.batch_size": "8"}`."""
    lines: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            lines |= flat(value, f"{prefix}{key}.")
        else:
            lines[prefix + key] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return lines


def settings_that_matter(recipe: Recipe) -> dict[str, str]:
    """The flat settings without the seed and those that change no result."""
    return {key: value for key, value in flat(recipe.that_matter()).items() if key != "seed"}


def differences(recipes: Sequence[Recipe]) -> dict[str, list[str]]:
    """Setting → its value in each recipe, for the settings in which they differ."""
    lines = [settings_that_matter(recipe) for recipe in recipes]
    keys = list(dict.fromkeys(key for settings in lines for key in settings))
    values = {key: [settings.get(key, "–") or "(empty)" for settings in lines] for key in keys}
    return {key: found for key, found in values.items() if len(set(found)) > 1}


def changed_from_shipped(recipe: Recipe) -> dict[str, list[str]] | None:
    """What was changed in the shipped recipe of that name: setting → shipped and own value; None if there is none."""
    return differences([load_recipe(recipe.name), recipe]) if recipe.name in shipped_recipes() else None
