"""Points of three kinds on a plane, told apart by shape as well as by colour."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from pipelines.report.charts import svg

Shape = Literal["dot", "ring", "cross"]
_SIDE: Final = 360
_MARGIN: Final = 14
_LINE: Final = 12.0  # px between two names


def scatter(
    points: NDArray[np.float64],
    kinds: Sequence[str],
    groups: Sequence[str],
    *,
    shapes: Mapping[str, Shape],
    named: Sequence[tuple[str, tuple[float, float]]],
    alt: str,
) -> Markup:
    """Points, drawn kind by kind in the order of `shapes`.

    Args:
        points: N×2.
        kinds: N, keys of `shapes`; the class of a point's group in the page.
        groups: N, what a pointer over the point shows.
        named: words and where they belong, in the coordinates of `points`.
        alt: the chart in words.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (_SIDE - 2 * _MARGIN) / float((high - low).max() or 1.0)
    offset = (_SIDE - (high - low) * scale) / 2
    places = np.round((points - low) * scale + offset, 1)
    parts = []
    for kind, shape in shapes.items():
        for group in dict.fromkeys(g for k, g in zip(kinds, groups, strict=True) if k == kind):
            chosen = [p for p, k, g in zip(places.tolist(), kinds, groups, strict=True) if (k, g) == (kind, group)]
            drawn = "".join(_drawn(shape, x, y) for x, y in chosen)
            parts.append(f'<path class="points {kind}" d="{drawn}"><title>{escape(group)}</title></path>')
    spots = [(text, ((np.array(where) - low) * scale + offset).tolist()) for text, where in named]
    parts += [
        f'<text class="halo" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'
        for text, (x, y) in _apart(spots)
    ]
    return svg("".join(parts), (_SIDE, _SIDE), alt, "chart scatter")


def _drawn(shape: Shape, x: float, y: float) -> str:
    """A point as a part of a path: one path a group is a tenth of as many elements."""
    if shape == "cross":
        return f"M{x - 2.2:.1f} {y - 2.2:.1f}l4.4 4.4m0-4.4l-4.4 4.4"
    radius = 1.6 if shape == "dot" else 2.4
    return f"M{x - radius:.1f} {y}a{radius} {radius} 0 1 0 {2 * radius} 0a{radius} {radius} 0 1 0-{2 * radius} 0"


def _apart(spots: Sequence[tuple[str, list[float]]]) -> list[tuple[str, tuple[float, float]]]:
    """The words, kept within the picture and moved down where they would lie on one another."""
    placed: list[tuple[str, tuple[float, float]]] = []
    for text, (x, y) in sorted(spots, key=lambda spot: spot[1][1]):
        half = len(text) * 3.7
        x, y = min(max(x, half), _SIDE - half), max(y, _LINE)
        for other, (left, top) in placed:
            if abs(left - x) < half + len(other) * 3.7 and abs(top - y) < _LINE:
                y = top + _LINE
        placed.append((text, (x, min(y, _SIDE - 3))))
    return placed
