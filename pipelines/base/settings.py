"""What all settings share: checked and frozen pydantic models, whose field descriptions are the `--help`."""

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def setting(default: Any, meaning: str, **limits: Any) -> Any:
    """A setting that results depend on; `limits` as pydantic's `Field` takes them."""
    return Field(default, description=meaning, **limits)


def cosmetic(default: Any, meaning: str, **limits: Any) -> Any:
    """A setting that cannot change a result, so that changing it makes nothing stale."""
    return Field(default, description=meaning, json_schema_extra={"cosmetic": True}, **limits)


def path(meaning: str) -> Any:
    """A file or folder; empty: none."""
    return Field("", description=meaning, json_schema_extra={"path": "always"})


def name_or_path(default: str, meaning: str, *, folders: bool = False) -> Any:
    """The name of something shipped or known to a library, or the path of one's own, a folder too with `folders`."""
    return Field(default, description=meaning, json_schema_extra={"path": "or name", "folders": folders})


def section(kind: Callable[..., Any], **changed: Any) -> Any:
    """Settings within settings, their defaults `changed`; made when asked for: most runs state them."""
    return Field(default_factory=lambda: kind(**changed))


class Settings(BaseModel):
    """Base of all settings: unknown keys and changes after checking are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    def that_matter(self) -> dict[str, Any]:
        """The settings without the cosmetic ones, as plain values for hashing."""
        kept: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("cosmetic"):
                continue
            kept[name] = _that_matter(getattr(self, name))
        return kept


def _that_matter(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.that_matter()
    if isinstance(value, dict):
        return {name: _that_matter(inner) for name, inner in value.items()}
    return value


def inner_settings(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Settings]]:
    """`settings` and all settings inside it, each with its dotted path."""
    yield prefix, settings
    for name in type(settings).model_fields:
        value, path = getattr(settings, name), f"{prefix}.{name}" if prefix else name
        named = value if isinstance(value, dict) else {"": value}
        for key, inner in named.items():
            if isinstance(inner, Settings):
                yield from inner_settings(inner, f"{path}.{key}" if key else path)
