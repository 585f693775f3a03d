"""Charts as inline SVG, drawn small so that their letters stay readable on a phone; colours are the page's own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from markupsafe import Markup, escape

Dash = Literal["solid", "dashed", "dotted"]
Points = Sequence[tuple[float, float]]

_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 12, 14, 36
_LETTER: Final = 6.2  # px, mean width of a letter of the labels


@dataclass(frozen=True)
class Line:
    """A curve: its points by rising x, and the class that colours it; dash and dots tell it apart without colour."""

    name: str
    points: Points
    css: str
    dash: Dash = "solid"
    dots: bool = False
    spread: Sequence[float] = ()
    """Half the height of a band about each point; none if empty."""


@dataclass(frozen=True)
class Mark:
    """A vertical line at x with words at its top."""

    x: float
    text: str


@dataclass(frozen=True)
class Axis:
    """What an axis shows; `low` and `high` widen its range, `ticks` are set where given."""

    label: str
    low: float | None = None
    high: float | None = None
    ticks: Sequence[float] = field(default=())


def line_chart(
    lines: Sequence[Line],
    *,
    x: Axis,
    y: Axis,
    alt: str,
    marks: Sequence[Mark] = (),
    size: tuple[int, int] = (340, 220),
    named: bool = True,
) -> Markup:
    """Curves over common axes, each named at its end.

    Args:
        alt: the chart in words, for those who cannot see it.
        size: width and height in px.
        named: write the names of the lines beside their ends.

    Raises:
        ValueError: there is no point.
    """
    every = [point for line in lines for point in line.points]
    if not every:
        raise ValueError("a chart needs a point")
    room = max(len(line.name) for line in lines) * _LETTER + 6 if named else 0
    frame = _Frame(every, x, y, size, _RIGHT + room, _TOP + 12 * len(marks))
    parts = [*frame.grid()]
    parts += [_mark(frame, mark, row) for row, mark in enumerate(marks)]
    for line in lines:
        parts += _curve(frame, line)
    if named:
        parts += _names(frame, lines)
    return svg("".join(parts), size, alt, "chart")


def dot_plot(rows: Sequence[tuple[str, Sequence[float]]], label: str, alt: str) -> Markup:
    """Named rows of values on one axis, each value a dot and their mean a bar.

    Raises:
        ValueError: there is no value.
    """
    every = [value for _, values in rows for value in values]
    if not every:
        raise ValueError("a plot needs a value")
    width, step, left = 340, 34, 14
    ticks = _ticks(*_range(every, Axis(label)))
    height, scale = len(rows) * step + 46, (width - 2 * left) / (ticks[-1] - ticks[0])
    places = [left + (tick - ticks[0]) * scale for tick in ticks]
    base = height - 34
    parts = [f'<path class="grid" d="M{place:.1f} 4V{base}"/>' for place in places]
    parts += [_text(place, base + 14, number(tick), "middle") for place, tick in zip(places, ticks, strict=True)]
    for row, (name, values) in enumerate(rows):
        middle = 26 + row * step
        parts.append(_text(2, middle - 10, name, "start", "halo"))
        across = [left + (value - ticks[0]) * scale for value in values]
        if across:
            parts.append(f'<path class="mean" d="M{sum(across) / len(across):.1f} {middle - 6}v12"/>')
        parts += [f'<circle class="dot ink" cx="{x:.1f}" cy="{middle}" r="3"/>' for x in across]
    parts.append(_text(width / 2, height - 4, label, "middle", "label"))
    return svg("".join(parts), (width, height), alt, "chart")


def svg(content: str, size: tuple[int, int], alt: str, css: str) -> Markup:
    """An SVG picture of a size with alternative text; `content` is its inside, already escaped."""
    width, height = size
    return Markup(
        f'<svg class="{css}" role="img" aria-label="{escape(alt)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" xmlns="http://www.w3.org/2000/svg">{content}</svg>'
    )


class _Frame:
    """From values to px within the axes."""

    def __init__(self, points: Points, x: Axis, y: Axis, size: tuple[int, int], right: float, top: float) -> None:
        self.x, self.y, (self.width, self.height), self.top = x, y, size, top
        self.inner = (size[0] - _LEFT - right, size[1] - top - _BOTTOM)
        self.x_range = _range([p[0] for p in points], x)
        self.x_ticks = list(x.ticks) or _ticks(*self.x_range)
        self.y_ticks = list(y.ticks) or _ticks(*_range([p[1] for p in points], y))
        self.y_range = (self.y_ticks[0], self.y_ticks[-1])

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a value."""
        across = (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        up = (y - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        return round(_LEFT + across * self.inner[0], 1), round(self.top + (1 - up) * self.inner[1], 1)

    def grid(self) -> list[str]:
        """Lines and figures of both axes, and what they show."""
        right, base = _LEFT + self.inner[0], self.top + self.inner[1]
        parts = []
        for value in self.y_ticks:
            _, down = self.at(self.x_range[0], value)
            parts.append(f'<path class="grid" d="M{_LEFT} {down}H{right:.1f}"/>')
            parts.append(_text(_LEFT - 5, down + 3.5, number(value), "end"))
        for value in self.x_ticks:
            if self.x_range[0] <= value <= self.x_range[1]:
                across, _ = self.at(value, self.y_range[0])
                parts.append(f'<path class="tick" d="M{across} {base:.1f}v4"/>')
                parts.append(_text(across, base + 15, number(value), "middle"))
        parts.append(_text(_LEFT + self.inner[0] / 2, self.height - 4, self.x.label, "middle", "label"))
        if self.y.label:
            parts.append(_text(2, 9, self.y.label, "start", "label"))
        return parts


def _range(values: Sequence[float], axis: Axis) -> tuple[float, float]:
    low = min(values) if axis.low is None else min(axis.low, *values)
    high = max(values) if axis.high is None else max(axis.high, *values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round values from at most `low` to at least `high`."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * n, 10) for n in range(first, last + 1)]


def number(value: float) -> str:
    """A figure on an axis: 12000 as 12k."""
    if abs(value) >= 10_000 and value % 1000 == 0:
        return f"{value / 1000:g}k"
    return f"{value:g}".replace("-", "−")


def _curve(frame: _Frame, line: Line) -> list[str]:
    places = [frame.at(*point) for point in line.points]
    parts = []
    if line.spread:
        pairs = list(zip(line.points, line.spread, strict=True))
        upper = [frame.at(x, min(y + half, frame.y_range[1])) for (x, y), half in pairs]
        lower = [frame.at(x, max(y - half, frame.y_range[0])) for (x, y), half in reversed(pairs)]
        parts.append(f'<path class="band {line.css}" d="{_path([*upper, *lower])}Z"/>')
    parts.append(f'<path class="line {line.css} {line.dash}" d="{_path(places)}"/>')
    if line.dots or len(places) == 1:
        parts += [f'<circle class="dot {line.css}" cx="{x}" cy="{y}" r="2.6"/>' for x, y in places]
    return parts


def _path(places: Points) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in places)


def _mark(frame: _Frame, mark: Mark, row: int) -> str:
    """A mark with its words in a row of their own above the axes, the first one lowest."""
    across, _ = frame.at(mark.x, frame.y_range[0])
    left, right = _LEFT, _LEFT + frame.inner[0]
    half = len(mark.text) * _LETTER / 2
    anchor, where = "middle", across
    if across + half > right + 8:
        anchor, where = "end", min(across + 4, frame.width - 2)
    elif across - half < left:
        anchor, where = "start", across - 4
    words = frame.top - 5 - 12 * row
    line = f'<path class="mark" d="M{across} {words + 2:.1f}V{frame.top + frame.inner[1]:.1f}"/>'
    return line + _text(where, words, mark.text, anchor, "mark-text")


def _names(frame: _Frame, lines: Sequence[Line]) -> list[str]:
    """The names at the ends of their lines, moved apart where they would lie on one another."""
    ends = sorted(((frame.at(*line.points[-1])[1], line) for line in lines if line.points), key=lambda end: end[0])
    parts, free = [], frame.top - 6.0
    room = frame.top + frame.inner[1] + 4
    heights = []
    for down, _ in ends:
        free = max(down, free + 12.5)
        heights.append(free)
    for place in range(len(heights) - 1, -1, -1):  # those pushed below the axis go up again
        heights[place] = min(heights[place], room - 12.5 * (len(heights) - 1 - place))
    across = _LEFT + frame.inner[0] + 7
    for height, (_, line) in zip(heights, ends, strict=True):
        parts.append(_text(across, height + 3.5, line.name, "start", f"name {line.css}"))
    return parts


def _text(x: float, y: float, text: str, anchor: str, css: str = "") -> str:
    kind = f' class="{css}"' if css else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
