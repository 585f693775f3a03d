"""Recipes from shipped or one's own TOML files, changed by `key=value`, and written resolved."""

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pipelines.base.errors import ConcatError
from pipelines.base.files import write_text
from pipelines.base.parts import PartTable, table_of
from pipelines.base.settings import Settings
from pipelines.recipes.earlier import as_now
from pipelines.recipes.recipe import Recipe

SHIPPED = Path(__file__).parent
_SIGNED = "# Written by concat; SHA-256 of what follows: "
_ALTERNATIVE = re.compile(r"constrained-\w+|literal\[.*\]|int|float")
_SEE_HELP = "The --help of each stage lists its settings."

Values = dict[str, Any]


def shipped_recipes() -> list[str]:
    """Names of the recipes in the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load_recipe(name_or_path: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """A shipped recipe by name or one's own TOML file, with `key=value` overrides.

    Raises:
        ConcatError: no such recipe, an unknown setting, or a value that does not fit.
    """
    path = Path(name_or_path)
    if not path.suffix:
        path = SHIPPED / f"{name_or_path}.toml"
    return _checked(_laid_over(_read(path), _stated(overrides), Recipe), path)


def override(recipe: Recipe, overrides: tuple[str, ...]) -> Recipe:
    """`recipe` with `key=value` settings changed, checked anew."""
    return _checked(_laid_over(recipe.model_dump(), _stated(overrides), Recipe), None)


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Writes the resolved recipe as TOML under its digest; a file that says the same already is only signed anew."""
    if not path.exists() or load_recipe(str(path)) != recipe:
        text = tomli_w.dumps(recipe.model_dump(mode="json"))
    elif recipe_is_as_written(path):
        return
    else:
        text = path.read_text(encoding="utf-8")  # with one's own remarks
        text = text.partition("\n")[2] if text.startswith(_SIGNED) else text
    write_text(path, f"{_SIGNED}{_digest_of(text)}\n{text}")


def recipe_is_as_written(path: Path) -> bool | None:
    """Whether the digest in the first line is that of the rest; None: there is none, as version 0.1 wrote none.

    One's own editor is a way to change a recipe, too: it is no fault, and the next command signs what it finds.
    """
    first, _, rest = path.read_bytes().partition(b"\n")
    if not first.startswith(b"#"):
        return None
    return first.decode(errors="replace") == _SIGNED + hashlib.sha256(rest).hexdigest()


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> Values:
    """The values of a TOML file, laid over those of the shipped recipe it `extends`, if it does."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError:
        raise ConcatError(
            "Recipe not found.", file=path, mend=f"Shipped ones: {', '.join(shipped_recipes())}."
        ) from None
    except ValueError as error:
        raise ConcatError(f"Not a TOML file: {error}.", file=path) from None
    base = values.pop("extends", None)
    values = as_now(values)
    return _laid_over(_read(SHIPPED / f"{base}.toml"), values, Recipe) if base else values


def _stated(overrides: tuple[str, ...]) -> Values:
    """What `key=value` settings say, nested as in a recipe."""
    values: Values = {}
    for assignment in overrides:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConcatError(
                f"--set wants key=value, not {assignment!r}.", mend="For example --set con.iterations=100."
            )
        *sections, last = key.strip().split(".")
        target = values
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise ConcatError(f"Unknown setting {key!r}.", mend=_SEE_HELP)
        target[last] = _parse(text.strip())
    return as_now(values)


def _parse(text: str) -> Any:
    """A TOML value if it is one, else the bare word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _laid_over(base: Values, changes: Values, model: type[Settings]) -> Values:
    """`base` with `changes`, section by section; where the kind of a part changes, only what both kinds know stays."""
    merged = dict(base)
    for name, value in changes.items():
        field, inner = model.model_fields.get(name), merged.get(name, {})
        table = table_of(field) if field else None
        if table and not _is_section(field, dict):
            merged[name] = _part_laid_over(inner, value, table)
        elif table and isinstance(value, dict):
            merged[name] = inner | {n: _part_laid_over(inner.get(n, {"kind": n}), v, table) for n, v in value.items()}
        elif _is_section(field, Settings) and isinstance(value, dict) and isinstance(inner, dict):
            merged[name] = _laid_over(inner, value, field.annotation)  # type: ignore[union-attr, arg-type]
        else:
            merged[name] = value
    return merged


def _part_laid_over(base: Any, changes: Any, table: PartTable) -> Any:
    base, changes = ({"kind": v} if isinstance(v, str) else v for v in (base, changes))  # a word is a kind alone
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    known = table.settings_of(changes.get("kind") or base.get("kind"))
    if "kind" in changes:
        base = {n: v for n, v in base.items() if n in known.model_fields}
    return _laid_over(base, changes, known)


def _is_section(field: FieldInfo | None, kind: type) -> bool:
    """Whether a field holds settings, or a dict of named ones."""
    annotation = field.annotation if field else None
    annotation = getattr(annotation, "__origin__", annotation)
    return isinstance(annotation, type) and issubclass(annotation, kind)


def _place(error: ErrorDetails) -> tuple[int | str, ...]:
    """The setting that an error is about, without the alternative of a union that pydantic tried."""
    place = error["loc"]
    return place[:-1] if place and _ALTERNATIVE.fullmatch(str(place[-1])) else place


def _checked(values: Values, path: Path | None) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        errors = error.errors()
        first, place = errors[0], _place(errors[0])
        beyond = list(first["input"])[:1] if isinstance(first["input"], dict) else []  # a key below a plain setting
        key = ".".join(map(str, (*place, *beyond)))
        unknown = beyond or first["type"] == "extra_forbidden"
        said = " or ".join(dict.fromkeys(own["msg"] for own in errors if _place(own) == place))
        what = f"Unknown setting {key!r}" if unknown else f"Setting {key}: {said}"
        raise ConcatError(f"{what}.", file=path, mend=_SEE_HELP) from None
