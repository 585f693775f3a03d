"""Pixel values of label maps, as options state them."""

from typing import Annotated

import typer

from pipelines.base.errors import ConcatError

Ignore = Annotated[
    str | None,
    typer.Option(
        "--ignore",
        help="Values of the label maps that are no category, comma-separated.",
        show_default="the data set's; 0,255 of your own",
    ),
]


def pixel_values(text: str) -> tuple[int, ...]:
    """The values of `--ignore 0,255`.

    Raises:
        ConcatError: it is no list of whole numbers from 0 to 65535.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and int(part) < 2**16 for part in parts):
        raise ConcatError(
            f"--ignore wants pixel values from 0 to 65535, not {text!r}.", mend="For example --ignore 0,255."
        )
    return tuple(map(int, parts))
