"""export: a run as one file that predicts elsewhere."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from concat_cli.console import out
from concat_cli.errors import guarded
from concat_cli.options import Cache, Debug
from pipelines.base.errors import ConcatError


@guarded
def export(
    run: Annotated[Path, typer.Argument(help="Run directory.", metavar="RUN", show_default=False)],
    file: Annotated[Path, typer.Argument(help="File to write.", metavar="FILE", dir_okay=False, show_default=False)],
    with_clip: Annotated[
        bool, typer.Option("--with-clip", help="Pack CLIP's text encoder too, to type names where its weights are not.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file, if it is there.")] = False,
    cache: Cache = None,
    debug: Debug = False,
) -> None:
    """Pack weights, settings and names of a finished run in one file for `concat predict` and `Segmenter.load`."""
    if file.exists() and not force:
        raise ConcatError("The file is there already.", file=file, mend="Use --force, or another name.")
    from pipelines.predict.bundle import write_bundle
    from pipelines.predict.segmenter import read_model

    model = read_model(run, cache)
    write_bundle(file, model, with_clip=with_clip)
    names, megabytes = len(model.own), file.stat().st_size / 1e6
    head = "the finetuned projector" if model.finetuned else "train-con's projector"
    out.print(f"Exported {escape(str(file))}, {megabytes:.1f} MB: {names} names, {head}.", soft_wrap=True)
    if with_clip:
        out.print("CLIP's text encoder came along: any names can be typed.")
    elif not model.recipe.clip.text_embeddings:
        clip = escape(model.clip["model"])
        out.print(f"Names that are not its own need its CLIP ({clip}) where it is used; --with-clip packs it.")
