"""From options to a run: its recipe, its cache, and its stages brought up to date.

The runner and the stages are imported where they are needed, so that help is shown without waiting for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from concat_cli.console import RichReporter
from concat_cli.errors import command_line
from pipelines.base.errors import ConcatError
from pipelines.recipes.load import load_recipe, override
from pipelines.recipes.paths import with_absolute_paths

if TYPE_CHECKING:
    from pipelines.runs.run import Run, Stage


def open_run(
    folder: Path,
    *,
    cache: Path | None,
    recipe: str | None = None,
    settings: list[str] | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> Run:
    """The run in `folder`; what options change of its recipe is kept once a stage is brought up to date.

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
    overrides += [f"runtime.device={quoted(device)}"] if device is not None else []
    overrides += [f"runtime.cache={quoted(cache)}"] if cache is not None else []
    resolved = load_recipe(recipe, tuple(overrides)) if recipe else override(load_recipe(str(path)), tuple(overrides))
    resolved = with_absolute_paths(resolved)
    if recipe or overrides:
        from pipelines.vocabularies.vocabulary import choose_vocabulary

        choose_vocabulary(resolved.data.vocabulary, resolved.data.unseen)  # so that no recipe is kept that cannot run
    from pipelines.runs.run import Run

    return Run(
        folder=folder,
        recipe=resolved,
        cache=Path(resolved.runtime.cache or "cache").resolve(),
        reporter=RichReporter(),
        command=command_line(),
    )


def bring_up_to_date(
    run: Run, target: str, *, force: bool = False, extra: Stage | None = None, dry_run: bool = False
) -> None:
    """Runs `target` and what it needs, and says what was done.

    Args:
        force: run `target` even if it is fresh.
        extra: a stage besides those of the recipe.
        dry_run: only show what would be done.
    """
    from pipelines.stages.chain import chain

    stages = chain(run.recipe) + ([extra] if extra else [])
    if dry_run:
        from concat_cli.plan_table import show_plan
        from pipelines.stages.plan import plan_of

        plan = plan_of(run, stages, target, force=force)
        show_plan(run, plan)
        plan.check_room()
        return
    from pipelines.runs.runner import bring_up_to_date as execute

    if not execute(run, stages, target, force=force):
        run.reporter.say(f"{target} is fresh; nothing to do (--force runs it again)")


def quoted(value: object) -> str:
    """A TOML string."""
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
