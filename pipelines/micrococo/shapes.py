"""The forms of micrococo as functions of the plane: textures (0 to 1) and shapes (signed distances)."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def texture_pattern(texture: str, u: Floats, v: Floats, period: np.float32) -> Floats:
    """How far a texture's second tone shows (0 to 1) at coordinates `u`, `v` of any shape; `period` in their unit.

    Raises:
        ValueError: no texture has that name.
    """
    if texture == "plain":
        return np.zeros_like(u)
    if texture == "striped":
        return np.clip(np.sin(u * np.float32(2 * np.pi / period)) * 3 + np.float32(0.5), 0, 1)
    if texture == "checkered":
        wave = np.float32(1.2 * np.pi / period)
        return np.clip(np.sin(u * wave) * np.sin(v * wave) * 6 + np.float32(0.5), 0, 1)
    if texture == "dotted":
        from_dot = np.hypot(u % period - period / 2, v % period - period / 2)
        return np.clip(period * np.float32(0.27) - from_dot + np.float32(0.5), 0, 1)
    raise ValueError(f"micrococo has no texture named {texture!r}")


def signed_distance(shape: str, x: Floats, y: Floats) -> Floats:
    """Distance to a shape's edge in radii, negative inside; `x`, `y` in radii about its centre, of any shape.

    Raises:
        ValueError: no shape has that name.
    """
    if shape == "circle":
        return np.hypot(x, y) - np.float32(0.92)
    if shape == "square":
        return np.maximum(abs(x), abs(y)) - np.float32(0.8)
    if shape == "triangle":
        return _triangle(x, y)
    if shape == "star":
        return _star(x, y)
    if shape == "cross":
        upright = np.maximum(abs(x) - np.float32(0.32), abs(y) - np.float32(0.98))
        level = np.maximum(abs(x) - np.float32(0.98), abs(y) - np.float32(0.32))
        return np.minimum(upright, level)
    if shape == "ring":
        return abs(np.hypot(x, y) - np.float32(0.70)) - np.float32(0.26)
    raise ValueError(f"micrococo has no shape named {shape!r}")


def _triangle(x: Floats, y: Floats) -> Floats:
    """Equilateral, as the meet of three half planes at 0.55 radii from the centre."""
    angles = np.float32(-np.pi / 2) + np.arange(3, dtype=np.float32) * np.float32(2 * np.pi / 3)
    planes: list[Floats] = [x * np.cos(angle) + y * np.sin(angle) for angle in angles]
    return np.maximum(np.maximum(planes[0], planes[1]), planes[2]) - np.float32(0.55)


def _star(x: Floats, y: Floats) -> Floats:
    """Five tips at 1.08 radii, notches at 0.45: fold the plane into half a tip, then measure to its one edge."""
    wedge = np.float32(2 * np.pi / 5)
    folded = abs(np.arctan2(y, x) % wedge - wedge / 2)  # 0 at a notch, wedge / 2 at a tip
    radius = np.hypot(x, y)
    notch = np.array([0.45, 0.0])
    tip = 1.08 * np.array([np.cos(wedge / 2), np.sin(wedge / 2)])
    edge = (tip - notch) / np.linalg.norm(tip - notch)
    normal_x, normal_y = np.float32(edge[1]), np.float32(-edge[0])
    return (radius * np.cos(folded) - np.float32(notch[0])) * normal_x + radius * np.sin(folded) * normal_y
