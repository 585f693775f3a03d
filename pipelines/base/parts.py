"""Parts that a recipe chooses by their kind: tables of kinds, each with settings of its own and what builds it.

A kind is a name of the table, the name of an entry point that an installed package offers, or FILE.py:NAME. What an
entry point or a file gives is a `Part` like those of the table, so a part needs no change of this package.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from pydantic import Field, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from pipelines.base.errors import ConcatError
from pipelines.base.imported import imported
from pipelines.base.settings import Settings, inner_settings


def named(kind: str) -> Any:
    """The field `kind` of a part's settings."""
    meaning = "Its kind, which brings settings of its own (`--set KEY.kind=… --help`); FILE.py:NAME: one of yours."
    return Field(kind, description=meaning, json_schema_extra={"path": "of a part"})


class PartSettings(Settings):
    """The settings of a part; a subclass gives `kind` its name, and adds what only this kind knows."""

    kind: str = named("")


@dataclass(frozen=True)
class Part:
    """One kind of part.

    Attributes:
        settings: its own settings; their module imports no torch, so that reading a recipe stays light.
        build: what makes it of its settings, or "module:name" of that, which is imported when a part is built.
    """

    settings: type[PartSettings]
    build: Callable[..., Any] | str

    @property
    def kind(self) -> str:
        """Its name in a table."""
        return str(self.settings.model_fields["kind"].default)


class PartTable:
    """The kinds of one sort of part.

    Args:
        what: the sort, in words.
        group: of the entry points by which installed packages offer more kinds.
        parts: the first one is the default.
    """

    def __init__(self, what: str, *, group: str, parts: tuple[Part, ...]) -> None:
        self.what, self.group = what, group
        self.parts: Mapping[str, Part] = {part.kind: part for part in parts}

    def part(self, kind: str) -> Part:
        """The part of a kind.

        Raises:
            ConcatError: there is none, or what the file or entry point gives is none.
        """
        if kind in self.parts:
            return self.parts[kind]
        found = _part_of_file(kind) if part_file(kind) else self._part_of_entry_point(kind)
        if not isinstance(found, Part):
            raise ConcatError(f"{kind} is no {self.what}.", mend="It must be a pipelines.base.parts.Part.")
        return found

    def settings_of(self, kind: str | None) -> type[PartSettings]:
        """The settings of a kind; where none is stated, of the table's first."""
        return self.part(kind or next(iter(self.parts))).settings

    def read(self, value: Any) -> PartSettings:
        """Settings as a recipe gives them: a table with its kind, or the kind alone.

        Raises:
            ConcatError: no such kind.
            pydantic.ValidationError: a setting is unknown to this kind or does not fit.
        """
        if isinstance(value, PartSettings):
            return value
        values = {"kind": value} if isinstance(value, str) else value
        if not isinstance(values, Mapping):
            raise ValueError(f"the settings of a {self.what} are a table with its kind, not {value!r}")
        return self.settings_of(values.get("kind")).model_validate(values)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """`Annotated[SomeSettings, TABLE]` is read by `read` and written whole, whatever the kind."""
        written_whole = core_schema.simple_ser_schema("any")
        return core_schema.no_info_before_validator_function(self.read, handler(source), serialization=written_whole)

    def build(self, settings: PartSettings, **given: Any) -> Any:
        """Makes the part that `settings` are of."""
        return imported(self.part(settings.kind).build)(settings, **given)

    def _part_of_entry_point(self, kind: str) -> Any:
        from importlib.metadata import entry_points  # for who asks for such a kind; others need not wait

        offered = entry_points(group=self.group)
        if kind in offered.names:
            return offered[kind].load()
        names = ", ".join([*self.parts, *sorted(offered.names)])
        raise ConcatError(f"There is no {self.what} {kind!r}.", mend=f"There are {names}; FILE.py:NAME adds one's own.")


def table_of(field: FieldInfo) -> PartTable | None:
    """The table that a field, or each entry of a field of named parts, is chosen from; None for other settings."""
    marks = [*field.metadata, *(mark for inner in get_args(field.annotation) for mark in get_args(inner)[1:])]
    return next((mark for mark in marks if isinstance(mark, PartTable)), None)


def part_file(kind: str) -> Path | None:
    """The file that holds a part's code, if its kind is FILE.py:NAME."""
    file, colon, _ = kind.rpartition(":")
    return Path(file) if colon and file.endswith(".py") else None


def outside_code(settings: Settings, prefix: str) -> dict[str, Path]:
    """The files of parts from outside, by dotted path: inputs, since results depend on what they hold."""
    kinds = {
        path: part_file(inner.kind)
        for path, inner in inner_settings(settings, prefix)
        if isinstance(inner, PartSettings)
    }
    return {f"code of {path}": file for path, file in kinds.items() if file is not None}


def _part_of_file(kind: str) -> Any:
    file, _, name = kind.rpartition(":")
    module = _module_of(Path(file).resolve())
    if not hasattr(module, name):
        raise ConcatError(f"The file has no {name}.", file=file, mend="Name the Part in it: FILE.py:NAME.")
    return getattr(module, name)


def _module_of(file: Path) -> ModuleType:
    """The module of a file, imported once; its name derives from path and content: files may be called alike."""
    try:
        content = file.read_bytes()
    except OSError:
        raise ConcatError(
            "The file of a part is missing.", file=file, mend="A kind is a name or FILE.py:NAME."
        ) from None
    name = f"concat_part_{hashlib.sha256(bytes(file) + content).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # of a file that ends in .py
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConcatError(f"The file of a part fails: {type(error).__name__}: {error}.", file=file) from error
    return module
