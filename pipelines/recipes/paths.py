"""Relative paths of a recipe, made absolute where they were typed, so that any folder will do to go on from."""

from pathlib import Path
from typing import Any, TypeVar

from pipelines.base.parts import part_file
from pipelines.base.settings import Settings

AnySettings = TypeVar("AnySettings", bound=Settings)


def with_absolute_paths(settings: AnySettings) -> AnySettings:
    """`settings` with their paths, as seen from the current folder, made absolute; names stay names."""
    changes: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if isinstance(value, Settings):
            changes[name] = with_absolute_paths(value)
        elif isinstance(value, dict):
            changes[name] = {key: with_absolute_paths(inner) for key, inner in value.items()}
        elif value and (
            marks.get("path") == "always"
            or (marks.get("path") == "or name" and _is_file(value))
            or (marks.get("folders") and Path(value).is_dir())
            or (marks.get("path") == "of a part" and part_file(value))
        ):
            changes[name] = str(Path(value).resolve())  # FILE.py:NAME resolves like any other file name
    return settings.model_copy(update=changes)


def _is_file(value: str) -> bool:
    """Names may hold a dot too, and a folder may be called like a shipped thing."""
    return bool(Path(value).suffix) and Path(value).exists()
