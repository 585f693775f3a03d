"""From the options of split-coco and split-data to the first stage of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from concat_cli.runs import bring_up_to_date, open_run, quoted
from pipelines.base.terms import Protocol

_Folder = typer.Option
Images = Annotated[Path | None, _Folder("--images", help="Folder or zip of training images.")]
Labels = Annotated[
    Path | None, _Folder("--labels", help="Folder or zip of their label maps, PNGs named as the images.")
]
Listing = Annotated[
    Path | None, _Folder("--list", help="Text file that names the training images, one a line.", show_default="all")
]
ValImages = Annotated[
    Path | None, _Folder("--val-images", help="Validation images.", show_default="the val2017 sibling, else --images")
]
ValLabels = Annotated[
    Path | None, _Folder("--val-labels", help="Their label maps.", show_default="the val2017 sibling, else --labels")
]
ValListing = Annotated[
    Path | None, _Folder("--val-list", help="Text file that names the validation images.", show_default="all")
]
Unseen = Annotated[
    str | None,
    typer.Option(
        "--unseen",
        help="Names of the unseen categories, comma-separated.",
        show_default="the vocabulary's own split",
    ),
]
ProtocolOption = Annotated[
    Protocol | None,
    typer.Option(
        "--protocol",
        help="zps drops training images with unseen pixels; zss keeps them and ignores those pixels.",
        show_default="zss for label maps, else zps",
    ),
]
TextEmbeddings = Annotated[
    Path | None,
    typer.Option("--text-embeddings", help="Given text embeddings (.npy) in place of a text encoder."),
]
TextNames = Annotated[Path | None, typer.Option("--text-names", help="Names of their rows (.txt or .json).")]


def prepare(
    run: Path,
    *,
    recipe: str | None,
    otherwise: str,
    given: Mapping[str, Path | str | None],
    unseen: str | None,
    ignored: tuple[int, ...] | None = None,
    settings: list[str] | None,
    seed: int | None,
    device: str | None,
    cache: Path | None,
    force: bool,
) -> None:
    """Writes a run's recipe and splits its data set.

    Args:
        recipe: the one to begin with; None: the run's own, or in a new run `otherwise`.
        given: setting → file, folder or word; None leaves the recipe's.
        unseen: names, comma-separated.
        settings: what the user sets besides, which wins.
    """
    assignments = [f"{key}={quoted(value)}" for key, value in given.items() if value is not None]
    if unseen is not None:
        names = ", ".join(quoted(name.strip()) for name in unseen.split(",") if name.strip())
        assignments.append(f"data.unseen=[{names}]")
    if ignored is not None:
        assignments.append(f"data.ignored={list(ignored)}")
    begin = recipe or (None if (run / "recipe.toml").exists() else otherwise)
    opened = open_run(
        run, cache=cache, recipe=begin, settings=assignments + list(settings or []), seed=seed, device=device
    )
    bring_up_to_date(opened, "split-coco", force=force)
