"""Draws a panoptic map over its picture: translucent segments, crisp outlines, readable names, unseen ones marked."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.ndimage import label as connected_parts

from pipelines.base.machine import font_folder
from pipelines.vocabularies.colours import Colour
from pipelines.vocabularies.vocabulary import clean_name

Picture = NDArray[np.uint8]
IdMap = NDArray[np.integer]
Bools = NDArray[np.bool_]
Box = tuple[int, int, int, int]  # left, top, right, bottom; the last two outside

PANEL_SIDE: Final = 432
"""Longer side of a drawn picture in px: four fit beside one another on a page, and names stay readable."""
UNSEEN_COLOUR: Final = (255, 205, 0)
UNSEEN_MARK: Final = "★ "
_SMALL: Final = 900  # px of a drawn segment below which an outline of 2 px would hide it
_SHADES: Final = (0.0, 0.24, -0.22, 0.12, -0.12, 0.36, -0.32)


@dataclass(frozen=True)
class LabelledSegment:
    """A segment to draw: its id in the map, and name and colour (RGB) of its category."""

    id: int
    name: str
    color: Colour
    unseen: bool
    isthing: bool

    @property
    def label(self) -> str:
        """The text written on it."""
        return UNSEEN_MARK + clean_name(self.name) if self.unseen else clean_name(self.name)


def overlay(
    image: Picture,
    ids: IdMap,
    segments: Sequence[LabelledSegment],
    *,
    alpha: float = 0.55,
    side: int = PANEL_SIDE,
    letters: int | None = None,
) -> Picture:
    """Draws segments over a picture, which is first brought to a readable size.

    Args:
        image: uint8, H×W×3, RGB.
        ids: integer, H×W; what is in no segment (0, void) is shown dim and grey.
        segments: those to draw; instances of one thing category get shades of its colour, unseen categories a golden
            outline, a thin golden hatching and a golden label with a star.
        alpha: opacity of the colours, 0 to 1.
        side: longer side of the result in px.
        letters: size of the names in px; None: one that suits `side`.

    Returns:
        uint8, H'×W'×3, max(H', W') = `side`.
    """
    size = display_size(image.shape[0], image.shape[1], side)
    masks = _resized_masks(ids, segments, size)
    colours = _shaded(segments)
    canvas = _tint(resized(image, size).astype(np.float32), masks, colours, alpha)
    _draw_outlines(canvas, masks, segments)
    picture = Image.fromarray(canvas.round().astype(np.uint8))
    _write_names(picture, masks, segments, colours, letters or max(9, round(max(picture.size) / 36)))
    return np.asarray(picture)


def display_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of a picture whose longer side is brought to `side`."""
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized(image: Picture, size: tuple[int, int]) -> Picture:
    """A photograph at another size (height, width), bicubic."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BICUBIC))


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows the star."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(font_folder() / name, size)


def label_box(text: str, size: int, unseen: bool) -> tuple[int, int]:
    """Width and height in px of the label that `draw_label` draws."""
    return round(font(size, unseen).getlength(text)) + size // 2 + 2, size + size // 3 + 1


def draw_label(
    draw: ImageDraw.ImageDraw, left_top: tuple[int, int], text: str, size: int, colour: Colour, unseen: bool
) -> None:
    """Writes `text` on a small plate: white on a dark tone of `colour`, or black on gold for an unseen category."""
    left, top = left_top
    width, height = label_box(text, size, unseen)
    plate = UNSEEN_COLOUR if unseen else _mixed(colour, (16, 16, 20), 0.62)
    draw.rounded_rectangle((left, top, left + width - 1, top + height - 1), radius=size // 4, fill=plate)
    ink = (20, 16, 0) if unseen else (255, 255, 255)
    draw.text((left + width / 2, top + height / 2), text, font=font(size, unseen), fill=ink, anchor="mm")


def dimmed(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """How void is shown: grey and half as bright (float, ...×3)."""
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat(0.45 * grey[..., None] + 20, 3, axis=-1)


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """`colour` with a `share` of `other`."""
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _shaded(segments: Sequence[LabelledSegment]) -> list[Colour]:
    """A colour for each segment: instances of one thing category step through shades and hues near its colour."""
    count: dict[str, int] = {}
    colours = []
    for segment in segments:
        number = count[segment.name] = count.get(segment.name, -1) + 1
        shade = _SHADES[number % len(_SHADES)] if segment.isthing else 0.0
        hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in segment.color))
        lightness = min(max(lightness + shade, 0.18), 0.88) if shade else lightness
        red, green, blue = colorsys.hls_to_rgb((hue + 0.15 * shade) % 1, lightness, saturation)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colours


def _resized_masks(ids: IdMap, segments: Sequence[LabelledSegment], size: tuple[int, int]) -> list[Bools]:
    """The segments' masks at another size: each pixel goes to the largest smoothly resized mask, void included."""
    wanted = [ids == segment.id for segment in segments]
    if ids.shape == size:
        return wanted
    void = ~np.logical_or.reduce([np.zeros(ids.shape, bool), *wanted])
    best, owner = np.full(size, -np.inf, np.float32), np.zeros(size, np.int64)
    for number, mask in enumerate([void, *wanted]):
        picture = Image.fromarray(mask.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        share = np.asarray(picture)
        owner[share > best] = number
        best = np.maximum(best, share)
    return [owner == number + 1 for number in range(len(segments))]


def _tint(
    canvas: NDArray[np.float32], masks: Sequence[Bools], colours: Sequence[Colour], alpha: float
) -> NDArray[np.float32]:
    tinted = dimmed(canvas)
    for mask, colour in zip(masks, colours, strict=True):
        tinted[mask] = (1 - alpha) * canvas[mask] + alpha * np.array(colour, np.float32)
    return tinted


def _draw_outlines(canvas: NDArray[np.float32], masks: Sequence[Bools], segments: Sequence[LabelledSegment]) -> None:
    """White lines of 1 px just inside each segment; unseen ones get golden lines of 2 px and a thin golden hatching.

    The hatching tells on which side of its outline an unseen segment lies.
    """
    rows, columns = np.indices(canvas.shape[:2])
    hatching = (rows + columns) % 14 == 0
    for mask, segment in zip(masks, segments, strict=True):
        width = 2 if segment.unseen and mask.sum() >= _SMALL else 1
        inside = binary_erosion(mask, iterations=width, border_value=1)
        if segment.unseen:
            canvas[inside & hatching] = 0.5 * canvas[inside & hatching] + 0.5 * np.array(UNSEEN_COLOUR, np.float32)
        canvas[mask & ~inside] = UNSEEN_COLOUR if segment.unseen else (255, 255, 255)


def _write_names(
    picture: Image.Image,
    masks: Sequence[Bools],
    segments: Sequence[LabelledSegment],
    colours: Sequence[Colour],
    size: int,
) -> None:
    """Writes names where they hide neither one another nor their segment.

    A name that finds no place is left out, and so is that of a segment smaller than it whose category is written
    already: a shelf of cups would vanish behind its names.
    """
    draw = ImageDraw.Draw(picture)
    taken = np.zeros((picture.height, picture.width), bool)
    written: set[str] = set()
    areas = [int(mask.sum()) for mask in masks]
    for number in sorted(range(len(segments)), key=lambda n: (not segments[n].unseen, -areas[n])):
        segment = segments[number]
        width, height = label_box(segment.label, size, segment.unseen)
        if areas[number] < width * height and segment.name in written:
            continue
        box = _place(masks[number], (width, height), taken)
        if box is not None:
            written.add(segment.name)
            left, top, right, bottom = box
            draw_label(draw, (left, top), segment.label, size, colours[number], segment.unseen)
            taken[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = True


def _place(mask: Bools, label: tuple[int, int], taken: Bools) -> Box | None:
    """A free box of the label's width and height: inside a large segment, beside a small one, or None."""
    width, height = label
    rows, columns = mask.shape
    if not mask.any() or width > columns or height > rows:
        return None
    if mask.sum() < 2.5 * width * height:
        ys, xs = np.nonzero(_largest_part(mask))
        left = int(np.clip((xs.min() + xs.max() + 1 - width) // 2, 0, columns - width))
        for top in (int(ys.min()) - height - 1, int(ys.max()) + 2):
            if 0 <= top <= rows - height and not taken[top : top + height, left : left + width].any():
                return left, top, left + width, top + height
    around = _around(mask, height, width)
    box = _best_box(mask[around], label, taken[around])
    if box is None:
        return None
    down, right = around[0].start, around[1].start
    return box[0] + right, box[1] + down, box[2] + right, box[3] + down


def _around(mask: Bools, height: int, width: int) -> tuple[slice, slice]:
    """The part of the picture that holds every box of `height`×`width` with its middle in the segment."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(int(ys[0]) - height, 0), int(ys[-1]) + height + 1),
        slice(max(int(xs[0]) - width, 0), int(xs[-1]) + width + 1),
    )


def _best_box(mask: Bools, label: tuple[int, int], taken: Bools) -> Box | None:
    """The free box that lies most and deepest inside the segment, all boxes tried at once."""
    width, height = label
    rows, columns = mask.shape
    # How much of each lies in the segment, and how deep inside its middle lies.
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    middles = depth[height // 2 : height // 2 + rows - height + 1, width // 2 : width // 2 + columns - width + 1]
    worth = _box_sums(mask, height, width) / (width * height) + 0.5 * middles / depth.max()
    worth[(_box_sums(taken, height, width) > 0) | (middles == 0)] = -1
    top, left = (int(n) for n in np.unravel_index(worth.argmax(), worth.shape))
    return (left, top, left + width, top + height) if worth[top, left] >= 0 else None


def _largest_part(mask: Bools) -> Bools:
    """The largest connected part of a mask that is not empty; a name between two parts would belong to neither."""
    parts, _ = connected_parts(mask)
    return parts == np.bincount(parts[mask]).argmax()


def _box_sums(values: Bools, height: int, width: int) -> NDArray[np.int64]:
    """Sums over every box of `height`×`width`, by its upper left corner (rows−height+1 × columns−width+1)."""
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    return sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
