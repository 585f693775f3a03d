"""Categories, vocabularies and the guard of the inductive setting.

`split-coco` writes the seen and the unseen part of a vocabulary to two files. Everything before finetuning reads the
seen file alone; `open_unseen` is the only door to the other one, for the stages that may know its names.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pipelines.base.errors import ConcatError, CorruptFileError, ProtocolError
from pipelines.base.files import write_json
from pipelines.vocabularies.file import read_vocabulary_file, what_is_wrong
from pipelines.vocabularies.shipped import shipped_vocabularies, vocabulary_path

STAGES_THAT_MAY_OPEN_UNSEEN_NAMES = frozenset({"split-coco", "finetune", "eval"})

Channel = Annotated[int, Field(strict=True, ge=0, le=255)]
Text = Annotated[str, StringConstraints(strict=True, strip_whitespace=True, min_length=1)]


class Category(BaseModel):
    """One category: `id` as in the data set's files (never an index), `prompt_names` what CLIP is asked for.

    The name `road; street` is short for the name `road` with the prompt names `road` and `street`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: int = Field(strict=True, ge=0, lt=2**24)
    name: Text
    isthing: bool = True
    color: tuple[Channel, Channel, Channel] = (128, 128, 128)
    unseen: bool = False
    prompt_names: tuple[Text, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _synonyms(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("name"), str) or ";" not in values["name"]:
            return values
        if values.get("prompt_names"):
            raise ValueError("its synonyms stand both in name and in prompt_names")
        synonyms = [part.strip() for part in values["name"].split(";")]
        if not all(synonyms):
            raise ValueError(f"a synonym in its name {values['name']!r} is empty")
        return {**values, "name": synonyms[0], "prompt_names": synonyms}

    @property
    def spoken(self) -> tuple[str, ...]:
        """The names put into prompts: the given ones or the cleaned name."""
        return self.prompt_names or (clean_name(self.name),)


class Vocabulary(BaseModel):
    """An ordered list of categories with unique ids and names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    categories: tuple[Category, ...]

    @model_validator(mode="after")
    def _unique(self) -> "Vocabulary":
        by_id: dict[int, str] = {}
        by_name: dict[str, int] = {}
        for category in self.categories:
            if category.id in by_id:
                raise ValueError(f"the id {category.id} stands twice, for {by_id[category.id]!r} and {category.name!r}")
            if category.name in by_name:
                ids = f"{by_name[category.name]} and {category.id}"
                raise ValueError(f"the name {category.name!r} stands twice, with the ids {ids}")
            by_id[category.id], by_name[category.name] = category.name, category.id
        return self

    @property
    def seen(self) -> "Vocabulary":
        """The seen categories, in order."""
        return Vocabulary(name=self.name, categories=tuple(c for c in self.categories if not c.unseen))

    @property
    def unseen(self) -> "Vocabulary":
        """The unseen categories, in order."""
        return Vocabulary(name=self.name, categories=tuple(c for c in self.categories if c.unseen))

    @property
    def things(self) -> "Vocabulary":
        """The things, in order."""
        return Vocabulary(name=self.name, categories=tuple(c for c in self.categories if c.isthing))

    @property
    def ids(self) -> list[int]:
        """Category ids, in order."""
        return [category.id for category in self.categories]

    @property
    def names(self) -> list[str]:
        """Category names, in order."""
        return [category.name for category in self.categories]

    def index_of(self) -> dict[int, int]:
        """Category id → index in this vocabulary."""
        return {category.id: index for index, category in enumerate(self.categories)}

    def __len__(self) -> int:
        return len(self.categories)

    def __add__(self, other: "Vocabulary") -> "Vocabulary":
        return Vocabulary(name=self.name, categories=self.categories + other.categories)

    def with_unseen(self, names: Iterable[str]) -> "Vocabulary":
        """The same categories with exactly `names` as the unseen ones.

        Raises:
            ConcatError: a name is no category of this vocabulary, or the list is empty.
        """
        names = list(names)
        unknown = [name for name in names if name not in self.names]
        if unknown or not names:
            what = (
                f"The unseen list names {unknown[0]!r}, which is no category of {self.name}."
                if unknown
                else ("The unseen list names no category.")
            )
            raise ConcatError(what, mend=f"Use names of the vocabulary, such as {', '.join(self.names[:3])}.")
        marked = tuple(c.model_copy(update={"unseen": c.name in names}) for c in self.categories)
        return Vocabulary(name=self.name, categories=marked)

    def unseen_relative_to(self, seen: "Vocabulary") -> "Vocabulary":
        """The same categories, unseen those none of whose spoken names is among the spoken names of `seen`.

        For open-vocabulary evaluation: what of one data set's names a model trained on another's has never met. Case
        does not count.
        """
        met = {name.casefold() for category in seen.categories for name in category.spoken}
        marked = tuple(
            c.model_copy(update={"unseen": met.isdisjoint(name.casefold() for name in c.spoken)})
            for c in self.categories
        )
        return Vocabulary(name=self.name, categories=marked)


def clean_name(name: str) -> str:
    """A category name as one would say it: suffixes dropped, hyphens to spaces."""
    for suffix in ("-merged", "-other", "-stuff"):
        name = name.removesuffix(suffix)
    return {"playingfield": "playing field"}.get(name, name.replace("-", " "))


def load_vocabulary(name_or_path: str) -> Vocabulary:
    """A shipped vocabulary by name (`coco_panoptic`, `voc20`, …) or one's own TOML or JSON file.

    Raises:
        ConcatError: no such file, or its content is not a vocabulary, names no category or one spoken name twice.
    """
    path = vocabulary_path(name_or_path)
    vocabulary = _read(path)
    if not len(vocabulary):
        raise CorruptFileError("The vocabulary names no category.", file=path, mend="List at least one.")
    _check_spoken(vocabulary, path)
    return vocabulary


def _read(path: Path) -> Vocabulary:
    try:
        values = read_vocabulary_file(path)
    except OSError:
        shipped = ", ".join(shipped_vocabularies())
        raise ConcatError("Vocabulary not found.", file=path, mend=f"Shipped ones: {shipped}.") from None
    try:
        return Vocabulary.model_validate(values)
    except ValidationError as error:
        raise what_is_wrong(error, values, path) from None


def _check_spoken(vocabulary: Vocabulary, path: Path) -> None:
    """Refuses categories that CLIP could not tell apart."""
    owners: dict[str, Category] = {}
    for category in vocabulary.categories:
        for name in category.spoken:
            other = owners.get(name.casefold())
            if other is not None:
                also = "" if other is category else f" and category {other.id} ({other.name!r})"
                raise CorruptFileError(
                    f"Category {category.id} ({category.name!r}){also} would ask CLIP for {name!r} twice.",
                    file=path,
                    mend="Give every category names and synonyms (prompt_names) of its own.",
                )
            owners[name.casefold()] = category


def choose_vocabulary(name_or_path: str, unseen: Sequence[str]) -> Vocabulary:
    """A vocabulary with its own unseen categories, or with `unseen` in their place.

    Raises:
        ConcatError: no such vocabulary, a name that is none of its categories, or a half without a category.
    """
    vocabulary = load_vocabulary(name_or_path)
    vocabulary = vocabulary.with_unseen(unseen) if unseen else vocabulary
    if not len(vocabulary.unseen) or not len(vocabulary.seen):
        which = "all" if len(vocabulary.unseen) else "no"
        raise ConcatError(
            f"The vocabulary {vocabulary.name} marks {which} categories as unseen.",
            mend="Name some, but not all, with --unseen.",
        )
    return vocabulary


def write_part(path: Path, part: Vocabulary) -> None:
    """Writes the seen or the unseen part of a vocabulary as JSON."""
    write_json(path, part.model_dump(mode="json"))


def open_seen(path: Path) -> Vocabulary:
    """Reads `split/seen.json`.

    Raises:
        ProtocolError: a category in it is marked unseen.
    """
    vocabulary = _read(path)
    for category in vocabulary.categories:
        if category.unseen:
            raise ProtocolError(
                f"The seen list holds the unseen category {category.name!r}.", file=path, mend="Run split-coco again."
            )
    return vocabulary


def open_unseen(path: Path, *, stage: str) -> Vocabulary:
    """Reads `split/unseen.json` for a stage that may know unseen names.

    Raises:
        ProtocolError: `stage` may not (method.md, "Settings").
    """
    if stage not in STAGES_THAT_MAY_OPEN_UNSEEN_NAMES:
        raise ProtocolError(f"The stage {stage} must not open unseen names.", file=path)
    return _read(path)


def check_names(found: Sequence[str], expected: Sequence[str], *, file: Path, stage: str, mend: str) -> None:
    """Checks that a store holds exactly the names a stage may read, in order.

    Raises:
        ProtocolError: it holds another name, which the stage must not know of.
        ConcatError: names are missing or in another order.
    """
    for name in found:
        if name not in expected:
            raise ProtocolError(
                f"{file.name} holds {name!r}, which is none of the names {stage} may read.", file=file, mend=mend
            )
    if list(found) != list(expected):
        missing = [name for name in expected if name not in found]
        what = f"lacks {missing[0]!r}" if missing else "holds the names in another order or more than once"
        raise ConcatError(f"{file.name} {what}, so {stage} cannot read it.", file=file, mend=mend)
