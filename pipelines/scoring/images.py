"""The images to score: those without a prediction, and all of them on several cores."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pipelines.base.errors import ConcatError
from pipelines.base.parallel import in_processes, paying_workers
from pipelines.base.progress import Reporter, SilentReporter

_Image = TypeVar("_Image")
_Result = TypeVar("_Result")


def refuse_missing(missing: Sequence[str], images: int, allowed: bool, file: Path) -> None:
    """Refuses predictions that lack images.

    Args:
        missing: names of the images without prediction.
        images: how many images there are.
        allowed: whether they are to count as empty.

    Raises:
        ConcatError: naming the first missing image.
    """
    if missing and not allowed:
        raise ConcatError(
            f"Image {missing[0]} has no prediction ({len(missing)} of {images} images have none).",
            file=file,
            mend="Predict every image, or count missing ones as empty with --allow-missing.",
        )


def over_images(
    score: Callable[[_Image], _Result], images: Sequence[_Image], *, workers: int | None, reporter: Reporter | None
) -> Iterator[_Result]:
    """Scores images one by one, in their order.

    Args:
        score: can be pickled.
        images: can be pickled.
        workers: processes; None: as many as pay.
        reporter: hears of every image.
    """
    with (reporter or SilentReporter()).task("score", len(images)) as task:
        for result in in_processes(score, images, workers=workers or paying_workers(len(images), worth=1000)):
            yield result
            task.advance()
