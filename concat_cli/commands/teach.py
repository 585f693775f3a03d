"""teach: more names for a finished run, without one picture of them."""

from pathlib import Path
from typing import Annotated

import typer

from concat_cli.errors import guarded
from concat_cli.options import Cache, Debug, Device, RunArgument, Set
from concat_cli.runs import bring_up_to_date, open_run


@guarded
def teach(
    run: RunArgument,
    names: Annotated[
        str,
        typer.Option(
            "--names", help="Names to teach: commas between categories, `;` before synonyms, \\[stuff] after a stuff."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Run directory to make.", file_okay=False)],
    settings: Set = None,
    device: Device = None,
    cache: Cache = None,
    debug: Debug = False,
) -> None:
    r"""Teach a run names that were typed on the spot, from its dump and generator alone, without one image.

    The result is a run like any other: `concat eval`, `predict` and `teach` take it. What was taught before is kept.

    Example: concat teach runs/a --names "zebra crossing \[stuff], e-scooter" --out b
    """
    from pipelines.stages.teach import teach_run
    from pipelines.vocabularies.typed_names import parse_names

    typed = tuple(entry.strip() for entry in names.split(","))
    parse_names(names)  # so that a slip is told before anything is opened
    source = open_run(run, cache=cache, device=device)
    if not (run / "cat" / "manifest.json").exists():  # an inductive run does without a generator
        bring_up_to_date(source, "train-cat")
    teach_run(source, typed, out)
    taught = open_run(out, cache=cache, settings=settings, device=device)
    bring_up_to_date(taught, "finetune")
    taught.reporter.say(f"taught {names}; `concat eval --run {out}` scores it on the data set of {run}")
