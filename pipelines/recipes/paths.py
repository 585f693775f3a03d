"""Relative paths of a recipe, made absolute where they were typed, so that any folder will do to go on from."""

from pathlib import Path
from typing import Any, TypeVar

from pipelines.recipes.recipe import Settings

AnySettings = TypeVar("AnySettings", bound=Settings)


def with_absolute_paths(settings: AnySettings) -> AnySettings:
    """`settings` with their paths, as seen from the current folder, made absolute; names stay names."""
    changes: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if isinstance(value, Settings):
            changes[name] = with_absolute_paths(value)
        elif value and (marks.get("path") == "always" or (marks.get("path") == "or name" and _is_file(value))):
            changes[name] = str(Path(value).resolve())
    return settings.model_copy(update=changes)


def _is_file(value: str) -> bool:
    """Names may hold a dot too, and a folder may be called like a shipped thing."""
    return bool(Path(value).suffix) and Path(value).exists()
