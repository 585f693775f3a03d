"""make-micrococo: the embedded world, as a data set in COCO 2017's panoptic layout."""

from pathlib import Path
from typing import Annotated

import typer

from concat_cli.console import RichReporter
from concat_cli.errors import guarded
from concat_cli.options import Debug


@guarded
def make_micrococo(
    folder: Annotated[Path, typer.Argument(help="Folder to make.", metavar="DIR", file_okay=False)],
    train: Annotated[int, typer.Option(help="Training scenes (images).", min=1)] = 6000,
    val: Annotated[int, typer.Option(help="Validation scenes (images).", min=1)] = 400,
    tune: Annotated[int, typer.Option(help="Scenes to choose settings on (images).", min=1)] = 400,
    size: Annotated[int, typer.Option(help="Side of a scene (px).", min=64)] = 96,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same bytes.", min=0)] = 0,
    debug: Debug = False,
) -> None:
    """Render micrococo: images, panoptic PNGs and json of train2017, val2017 and tune2017."""
    from pipelines.base.parallel import usable_cores
    from pipelines.micrococo.dataset import make_micrococo as make

    with RichReporter().task("render", train + val + tune) as task:
        make(
            folder,
            train=train,
            val=val,
            tune=tune,
            size=size,
            seed=seed,
            workers=usable_cores(),
            progress=task.advance,
        )
