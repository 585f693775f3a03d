"""CONCAT's method: data, models, losses, metrics, and the stages that put them together.

`from pipelines import Segmenter` is the way in for who wants to predict; torch is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.predict.segmenter import Segmenter

__all__ = ["Segmenter"]


def __getattr__(name: str) -> Any:
    if name != "Segmenter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipelines.predict.segmenter import Segmenter

    return Segmenter
