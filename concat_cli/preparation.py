"""From the options of split-coco and split-data to the first stage of a run."""

from collections.abc import Mapping
from pathlib import Path

from concat_cli.data_options import ALLOWED
from concat_cli.runs import bring_up_to_date, open_run, quoted


def prepare(
    run: Path,
    *,
    recipe: str | None,
    otherwise: str,
    given: Mapping[str, Path | str | None],
    unseen: str | None,
    allow_seen_unseen: bool,
    ignored: tuple[int, ...] | None = None,
    settings: list[str] | None,
    seed: int | None,
    device: str | None,
    cache: Path | None,
    force: bool,
    dry_run: bool = False,
) -> None:
    """Writes a run's recipe and splits its data set.

    Args:
        recipe: the one to begin with; None: the run's own, or in a new run `otherwise`.
        given: setting → file, folder or word; None leaves the recipe's.
        unseen: names, comma-separated.
        allow_seen_unseen: False leaves the recipe's.
        settings: what the user sets besides, which wins.
        dry_run: only show what would be done.
    """
    assignments = [f"{key}={quoted(value)}" for key, value in given.items() if value is not None]
    if unseen is not None:
        names = ", ".join(quoted(name.strip()) for name in unseen.split(",") if name.strip())
        assignments.append(f"data.unseen=[{names}]")
    if allow_seen_unseen:
        assignments.append(ALLOWED)
    if ignored is not None:
        assignments.append(f"data.ignored={list(ignored)}")
    begin = recipe or (None if (run / "recipe.toml").exists() else otherwise)
    opened = open_run(
        run, cache=cache, recipe=begin, settings=assignments + list(settings or []), seed=seed, device=device
    )
    bring_up_to_date(opened, "split-coco", force=force, dry_run=dry_run)
