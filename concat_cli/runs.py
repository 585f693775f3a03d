"""From options to a run: its recipe, its cache, and its stages brought up to date.

The runner and the stages are imported where they are needed, so that help is shown without waiting for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from concat_cli.console import RichReporter
from concat_cli.errors import command_line
from pipelines.errors import ConcatError
from pipelines.recipe import Recipe, load_recipe, override, write_recipe
from pipelines.vocabulary import choose_vocabulary

if TYPE_CHECKING:
    from pipelines.runner import Run, Stage


def open_run(
    folder: Path,
    *,
    cache: Path | None,
    recipe: str | None = None,
    settings: list[str] | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> Run:
    """The run in `folder`, with its `recipe.toml` written anew if options changed it.

    Args:
        recipe: name or path of a recipe to begin with; None: the run's own `recipe.toml`.

    Raises:
        ConcatError: no recipe is given and the folder has none, or a setting does not fit.
    """
    path = folder / "recipe.toml"
    if recipe is None and not path.exists():
        raise ConcatError(
            "This run directory has no recipe.toml yet.",
            file=folder,
            mend="Begin with `concat split-coco --run DIR --images … --annotations …`, or `concat run RECIPE`.",
        )
    overrides = list(settings or [])
    overrides += [f"seed={seed}"] if seed is not None else []
    overrides += [f'runtime.device="{device}"'] if device is not None else []
    resolved = load_recipe(recipe, tuple(overrides)) if recipe else override(load_recipe(str(path)), tuple(overrides))
    choose_vocabulary(resolved.data.vocabulary, resolved.data.unseen)  # so that no recipe is kept that cannot run
    keep(folder, resolved)
    from pipelines.runner import Run

    return Run(
        folder=folder,
        recipe=resolved,
        cache=(cache or Path("cache")).resolve(),
        reporter=RichReporter(),
        command=command_line(),
    )


def keep(folder: Path, recipe: Recipe) -> None:
    """Writes `recipe.toml` if it differs from what stands there."""
    path = folder / "recipe.toml"
    if not path.exists() or load_recipe(str(path)) != recipe:
        write_recipe(path, recipe)


def bring_up_to_date(run: Run, target: str, *, force: bool = False, extra: Stage | None = None) -> None:
    """Runs `target` and what it needs, and says what was done; `extra` is a stage besides those of the recipe."""
    from pipelines.runner import bring_up_to_date as execute
    from pipelines.stages.chain import chain

    stages = chain(run.recipe) + ([extra] if extra else [])
    if not execute(run, stages, target, force=force):
        run.reporter.say(f"{target} is fresh; nothing to do (--force runs it again)")
