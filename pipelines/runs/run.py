"""A run and its stages: what a stage reads and writes, on what its results depend, and what it may touch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipelines.base.errors import ProtocolError
from pipelines.base.imported import imported
from pipelines.base.progress import Reporter
from pipelines.recipes.recipe import Recipe

RECIPE: Final = "recipe.toml"
SCRATCH: Final = ("key.json", "checkpoint.pt")  # in a folder that is being written; no outputs


@dataclass(frozen=True)
class Run:
    """A run directory with its recipe and the cache it shares with other runs.

    `command` is what the user typed, for manifests and to be repeated after an interruption.
    """

    folder: Path
    recipe: Recipe
    cache: Path
    reporter: Reporter
    command: str = ""

    def manifest_path(self, stage: "Stage") -> Path:
        """What a finished stage leaves beside its outputs."""
        return self.folder / stage.folder / "manifest.json"

    def partial_folder(self, stage: "Stage") -> Path:
        """The folder a stage writes to until it is finished."""
        return self.folder / f".{stage.folder}.partial"


@dataclass
class StageContext:
    """What a stage may touch: its settings, its declared inputs, the folder it writes to and the cache.

    Attributes:
        out: the folder to write outputs to; what an interrupted run left there is still there.
        key: a hash of everything the result depends on, for outputs in the cache.
        forced: what the cache holds is to be made again.
        cached: outputs that live in the cache, by name.
        notes, metrics: go into the manifest.
    """

    run: Run
    stage: str
    out: Path
    key: str
    inputs: Mapping[str, Path]
    cached: dict[str, Path] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    precision: str = "32-true"
    effective_batch_size: int | None = None
    forced: bool = False

    @property
    def recipe(self) -> Recipe:
        """The run's recipe."""
        return self.run.recipe

    @property
    def reporter(self) -> Reporter:
        """Who listens to progress."""
        return self.run.reporter

    def input(self, name: str) -> Path:
        """The path of a declared input.

        Raises:
            ProtocolError: the stage did not declare it.
        """
        if name not in self.inputs:
            raise ProtocolError(f"The stage {self.stage} must not open {name}: it is none of its inputs.")
        return self.inputs[name]


@dataclass(frozen=True)
class Stage:
    """One box of the figure.

    Attributes:
        name: its command. about: what it does, for the help. folder: its folder in the run.
        version: raised when its results change.
        work: what runs it, or "module:name" of that, which is imported when the stage runs.
        reads: stage → names of that stage's outputs this one opens; a stage that a recipe does without counts for none.
        settings: the settings that matter, as plain values.
        sources: inputs from outside the run by name: files count by content, folders as (name, size, mtime) lists.
        knows_unseen_names: for the manifest's protocol.
        sections: of the recipe, that its help lists.
    """

    name: str
    folder: str
    version: int
    work: Callable[[StageContext], None] | str
    reads: Mapping[str, tuple[str, ...]]
    settings: Callable[[Recipe], dict[str, Any]]
    sources: Callable[[Run], dict[str, Path]]
    knows_unseen_names: bool = False
    about: str = ""
    sections: tuple[str, ...] = ()

    def execute(self, context: StageContext) -> None:
        """Does the work."""
        imported(self.work)(context)
