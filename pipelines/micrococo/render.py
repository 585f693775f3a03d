"""Draw the scenes of micrococo: things as signed distances on wavy stuff bands, with shading, light and noise."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.micrococo.shapes import Floats, signed_distance, texture_pattern
from pipelines.micrococo.world import (
    ALL_CATEGORIES,
    MICROCOCO_CATEGORIES,
    RGB,
    STUFF_COLOURS,
    THING_COLOURS,
)

NATIVE_SIZE: Final = 96
"""Image side in px at which lengths are given; other sizes scale them."""
MIN_SEGMENT_AREA: Final = 32
"""Segments with fewer visible px become void."""
VOID: Final = -1
CROWD_SHARE: Final = 0.04
GRAYSCALE_SHARE: Final = 0.007
STREAMS: Final = ("train", "val", "tune", "clip-train", "clip-check", "backbone-train", "backbone-check")
"""What scenes are drawn for; no two draw the same ones. The order is part of the seed: append only."""
_LIGHT_DIRECTION: Final = (np.cos(1.0), -np.sin(1.0))


@dataclass(frozen=True)
class Scene:
    """One rendered scene.

    Attributes:
        image: (H, W, 3) uint8 RGB; with `grayscale`, its three channels are equal.
        segments: (H, W) int16, index of each pixel's segment in `categories`, or `VOID`.
        categories: index in `MICROCOCO_CATEGORIES` of every segment. A stuff category occurs at most once.
        crowds: whether each segment is a crowd (a cluster of small like things).
        grayscale: whether the image has to be stored with one channel.
    """

    image: NDArray[np.uint8]
    segments: NDArray[np.int16]
    categories: tuple[int, ...]
    crowds: tuple[bool, ...]
    grayscale: bool


@dataclass
class _Canvas:
    """A scene being painted; `image` in 0..255 float32."""

    size: int
    image: Floats
    segments: NDArray[np.int16]
    categories: list[int] = field(default_factory=list)
    crowds: list[bool] = field(default_factory=list)

    @property
    def unit(self) -> float:
        """Px per native px."""
        return self.size / NATIVE_SIZE

    def new_segment(self, category: int, *, crowd: bool = False) -> int:
        self.categories.append(category)
        self.crowds.append(crowd)
        return len(self.categories) - 1


@dataclass(frozen=True)
class _Placement:
    """Where a thing lies; px."""

    x: float
    y: float
    radius: float


def scene_rng(seed: int, stream: str, index: int) -> np.random.Generator:
    """The random numbers of scene `index` of one of `STREAMS`: scenes can be drawn in any order and by any process."""
    return np.random.default_rng((seed, STREAMS.index(stream), index))


def render_scene(
    rng: np.random.Generator, *, size: int = NATIVE_SIZE, allowed: Sequence[int] = ALL_CATEGORIES
) -> Scene:
    """Render one scene: 2-3 stuff bands and 1-5 things; now and then a crowd, or a scene without colour.

    Args:
        rng: source of everything random; the same state gives the same scene.
        size: image side in px (radii, periods and cuts scale with it, `MIN_SEGMENT_AREA` does not).
        allowed: indices in `MICROCOCO_CATEGORIES` that may occur; at least three stuff ones and one thing, some of them
            white things and gray grounds.
    """
    grayscale = bool(rng.random() < GRAYSCALE_SHARE)
    with_crowd = bool(rng.random() < CROWD_SHARE)
    if grayscale:
        allowed = [k for k in allowed if MICROCOCO_CATEGORIES[k].colour in ("white", "gray")]
    things = [k for k in allowed if MICROCOCO_CATEGORIES[k].isthing]
    stuff = [k for k in allowed if not MICROCOCO_CATEGORIES[k].isthing]
    canvas = _Canvas(size, np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.int16))
    _paint_bands(canvas, rng, stuff)
    if with_crowd:
        _paint_crowd(canvas, rng, int(rng.choice(things)))
    _paint_things(canvas, rng, things)
    return _develop(canvas, rng, grayscale=grayscale)


@lru_cache(maxsize=4)
def _pixel_centres(size: int) -> tuple[Floats, Floats]:
    """(size, size) x and y of every pixel's centre, px."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) + np.float32(0.5)
    return x, y


# --- stuff ---


def _paint_bands(canvas: _Canvas, rng: np.random.Generator, stuff: Sequence[int]) -> None:
    n_bands = int(rng.integers(2, 4))
    chosen = rng.choice(stuff, n_bands, replace=False)
    bands = _wavy_bands(canvas, rng, n_bands)
    for band, category in enumerate(chosen):
        inside = bands == band
        colour, texture = MICROCOCO_CATEGORIES[category].colour, MICROCOCO_CATEGORIES[category].form
        base = np.array(STUFF_COLOURS[colour]) * rng.uniform(0.85, 1.12) + _tint(rng, 5.0, colour)
        x, y = (centres[inside] / np.float32(canvas.unit) for centres in _pixel_centres(canvas.size))
        canvas.image[inside] = _textured(rng, texture, base.astype(np.float32), x, y)
        canvas.segments[inside] = canvas.new_segment(int(category))


def _wavy_bands(canvas: _Canvas, rng: np.random.Generator, n_bands: int) -> NDArray[np.int64]:
    """(H, W) band index: lines across the image, cut where a wave along them passes 1 or 2 thresholds."""
    x, y = _pixel_centres(canvas.size)
    angle = rng.uniform(-0.5, 0.5) + (np.pi / 2 if rng.random() < 0.3 else 0.0)
    amplitude, frequency, phase = rng.uniform(0, 5), rng.uniform(1, 3), rng.uniform(0, 2 * np.pi)
    sine, cosine, half = np.float32(np.sin(angle)), np.float32(np.cos(angle)), np.float32(canvas.size / 2)
    across = ((x - half) * sine + (y - half) * cosine) / np.float32(canvas.unit)
    along = ((x - half) * cosine - (y - half) * sine) / np.float32(canvas.unit)
    wave = np.float32(amplitude) * np.sin(along * np.float32(2 * np.pi * frequency / NATIVE_SIZE) + np.float32(phase))
    cuts = [rng.uniform(-14, 14)] if n_bands == 2 else [rng.uniform(-26, -8), rng.uniform(8, 26)]
    return np.digitize(across + wave, np.array(cuts))


def _textured(rng: np.random.Generator, texture: str, base: Floats, x: Floats, y: Floats) -> Floats:
    """(n, 3) colours at `x`, `y` (n,): `base` (3,) mixed with a lighter or darker tone by the texture's pattern."""
    alternative = np.clip(base + np.float32(rng.choice((-1, 1)) * rng.uniform(40, 60)), 0, 255)
    angle, period, phase = rng.uniform(0, np.pi), rng.uniform(8, 13), rng.uniform(0, 13, 2)
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    u = x * cosine + y * sine + np.float32(phase[0])
    v = y * cosine - x * sine + np.float32(phase[1])
    return base + (alternative - base) * texture_pattern(texture, u, v, np.float32(period))[..., None]


# --- things ---


def _paint_things(canvas: _Canvas, rng: np.random.Generator, things: Sequence[int]) -> None:
    for _ in range(int(rng.integers(1, 6))):
        category = int(rng.choice(things))
        radius = rng.uniform(9, 19) * canvas.unit
        x, y = rng.uniform(0.6 * radius, canvas.size - 0.6 * radius, 2)
        _paint_thing(canvas, rng, category, _Placement(x, y, radius), canvas.new_segment(category))


def _paint_crowd(canvas: _Canvas, rng: np.random.Generator, category: int) -> None:
    """Paint 5-8 small things of one category close together; all are one segment."""
    segment = canvas.new_segment(category, crowd=True)
    centre = rng.uniform(0.25 * canvas.size, 0.75 * canvas.size, 2)
    for _ in range(int(rng.integers(5, 9))):
        x, y = centre + rng.normal(0, 9 * canvas.unit, 2)
        _paint_thing(canvas, rng, category, _Placement(x, y, rng.uniform(5, 7) * canvas.unit), segment)


def _paint_thing(canvas: _Canvas, rng: np.random.Generator, category: int, at: _Placement, segment: int) -> None:
    angle, stretch, shade = rng.uniform(0, 2 * np.pi), np.float32(rng.uniform(0.85, 1.15)), rng.uniform(-0.18, 0.18)
    base = _thing_colour(rng, MICROCOCO_CATEGORIES[category].colour)
    rows, columns = _window(at.y, at.radius, canvas.size), _window(at.x, at.radius, canvas.size)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return  # a crowd's member beyond the frame
    y = ((np.arange(rows.start, rows.stop) + 0.5 - at.y) / at.radius).astype(np.float32)[:, None]
    x = ((np.arange(columns.start, columns.stop) + 0.5 - at.x) / at.radius).astype(np.float32)[None, :]
    sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    turned_x: Floats = (x * cosine + y * sine) * stretch
    turned_y: Floats = np.divide(y * cosine - x * sine, stretch, dtype=np.float32)
    distance = signed_distance(MICROCOCO_CATEGORIES[category].form, turned_x, turned_y) * np.float32(at.radius)

    cover = np.clip(np.float32(0.5) - distance, 0, 1)[..., None]
    light = 1 + np.float32(shade) * (x * np.float32(_LIGHT_DIRECTION[0]) + y * np.float32(_LIGHT_DIRECTION[1]))
    edge = 1 - np.float32(0.35) * np.clip(distance + np.float32(2.2), 0, 1)  # the outer 2 px are darker
    window = canvas.image[rows, columns]
    window += cover * (base * (light * edge)[..., None] - window)
    canvas.segments[rows, columns][distance < 0] = segment


def _window(centre: float, radius: float, size: int) -> slice:
    """The pixels that a thing can touch along one axis; 1.3 covers its corners and stretch."""
    reach = 1.3 * radius + 1
    return slice(max(0, int(centre - reach)), min(size, int(centre + reach) + 1))


def _thing_colour(rng: np.random.Generator, colour: str) -> Floats:
    base: RGB = THING_COLOURS[colour]
    return (np.array(base) * rng.uniform(0.8, 1.1) + _tint(rng, 8.0, colour)).astype(np.float32)


def _tint(rng: np.random.Generator, deviation: float, colour: str) -> NDArray[np.float64]:
    """(3,) random change of a colour; one value for all channels of white and gray, which so stay colourless."""
    change = rng.normal(0, deviation, 3)
    return np.full(3, change[0]) if colour in ("white", "gray") else change


# --- the finished picture ---


def _develop(canvas: _Canvas, rng: np.random.Generator, *, grayscale: bool) -> Scene:
    """Add the light's gradient and the camera's noise, then drop what is hardly visible."""
    across = (np.arange(canvas.size, dtype=np.float32) + np.float32(0.5)) / np.float32(canvas.size) - np.float32(0.5)
    slope_x, slope_y, exposure = rng.uniform(-0.15, 0.15), rng.uniform(-0.15, 0.15), rng.uniform(0.85, 1.1)
    light = (1 + np.float32(slope_x) * across[None, :] + np.float32(slope_y) * across[:, None]) * np.float32(exposure)
    noise = rng.standard_normal((canvas.size, canvas.size, 1 if grayscale else 3), dtype=np.float32)
    image = canvas.image * light[..., None] + np.float32(rng.uniform(2, 9)) * noise
    segments, kept = _without_specks(canvas.segments, len(canvas.categories))
    return Scene(
        image=np.clip(image, 0, 255).astype(np.uint8),
        segments=segments,
        categories=tuple(canvas.categories[k] for k in kept),
        crowds=tuple(canvas.crowds[k] for k in kept),
        grayscale=grayscale,
    )


def _without_specks(segments: NDArray[np.int16], n: int) -> tuple[NDArray[np.int16], list[int]]:
    """Number the segments of at least `MIN_SEGMENT_AREA` px anew from 0; the others become void."""
    area = np.bincount(segments.ravel(), minlength=n)
    kept = np.flatnonzero(area >= MIN_SEGMENT_AREA)
    renumber = np.full(n, VOID, np.int16)
    renumber[kept] = np.arange(len(kept), dtype=np.int16)
    return renumber[segments], kept.tolist()
