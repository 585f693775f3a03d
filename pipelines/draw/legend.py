"""What the marks and colours of drawn segments mean: the line below every page, and a list of categories."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from pipelines.draw.overlay import UNSEEN_COLOUR, UNSEEN_MARK, dimmed, draw_label, font, label_box
from pipelines.vocabularies.colours import Colour
from pipelines.vocabularies.vocabulary import clean_name

LEGEND_HEIGHT: Final = 56
TEXT_SIZE: Final = 14
INK: Final = (28, 30, 36)
FAINT: Final = (105, 109, 120)
_LINE: Final = 24  # px from one category to the next below it
_HEADING: Final = 38
_SWATCH: Final = (30, 16)  # width, height
_GAP: Final = 9
_BETWEEN: Final = 28  # px from one column to the next


@dataclass(frozen=True)
class LegendEntry:
    """A category in a legend: its colour (RGB) and how many segments a list has of it."""

    name: str
    color: Colour
    isthing: bool
    unseen: bool
    segments: int

    @property
    def label(self) -> str:
        """The name as it is written on the pictures."""
        return clean_name(self.name)


def mark_legend() -> Image.Image:
    """What plates, stars and grey mean, in one line."""
    plates = (
        (UNSEEN_MARK + "name", True, "unseen category: not trained on"),
        ("name", False, "seen category"),
        ("", False, "void: no segment"),
    )
    text = font(TEXT_SIZE)
    picture = Image.new("RGB", (1100, LEGEND_HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    left, middle = 0, LEGEND_HEIGHT // 2
    for name, unseen, meaning in plates:
        width, height = label_box(name or "void", TEXT_SIZE, unseen)
        top = middle - height // 2
        if name:
            draw_label(draw, (left, top), name, TEXT_SIZE, FAINT, unseen)
        else:
            grey = np.linspace(40, 220, width, dtype=np.float32)[None, :, None].repeat(height, 0).repeat(3, 2)
            picture.paste(Image.fromarray(dimmed(grey).astype(np.uint8)), (left, top))
        draw.text((left + width + 8, middle), meaning, font=text, fill=INK, anchor="lm")
        left += width + 8 + round(text.getlength(meaning)) + 32
    return picture.crop((0, 0, left, LEGEND_HEIGHT))


def category_legend(entries: Sequence[LegendEntry], width: int) -> Image.Image:
    """Swatch, name and number of segments of each category, in columns below "Unseen things", "Things" and so on.

    Args:
        entries: the categories, drawn in alphabetical order.
        width: of the result in px; it is wider only if a single column needs more.
    """
    groups = [(title, sorted(group, key=lambda entry: entry.label)) for title, group in _groups(entries)]
    column = max((_entry_width(entry) for entry in entries), default=0) + _BETWEEN
    columns = max(1, (width + _BETWEEN) // column)
    rows = [-(-len(group) // columns) for _, group in groups]  # rounded up
    height = sum(_HEADING + _LINE * count for count in rows)
    picture = Image.new("RGB", (max(width, column), max(height, 1)), "white")
    draw, top = ImageDraw.Draw(picture), 0
    for (title, group), count in zip(groups, rows, strict=True):
        draw.text((0, top + _HEADING // 2), title, font=font(TEXT_SIZE + 1, bold=True), fill=INK, anchor="lm")
        top += _HEADING
        for number, entry in enumerate(group):
            _draw_entry(draw, (number // count * column, top + number % count * _LINE), entry)
        top += _LINE * count
    return picture


def _groups(entries: Sequence[LegendEntry]) -> Iterable[tuple[str, list[LegendEntry]]]:
    """The groups that have a category, unseen ones first."""
    for unseen in (True, False):
        for isthing in (True, False):
            group = [entry for entry in entries if (entry.unseen, entry.isthing) == (unseen, isthing)]
            kind = "things" if isthing else "stuff"
            if group:
                yield f"{UNSEEN_MARK}Unseen {kind}" if unseen else kind.capitalize(), group


def _count(entry: LegendEntry) -> str:
    return f"{entry.segments:,}".replace(",", " ")


def _entry_width(entry: LegendEntry) -> int:
    text = font(TEXT_SIZE)
    return _SWATCH[0] + _GAP + round(text.getlength(entry.label) + _GAP + text.getlength(_count(entry)))


def _draw_entry(draw: ImageDraw.ImageDraw, left_top: tuple[int, int], entry: LegendEntry) -> None:
    left, middle = left_top[0], left_top[1] + _LINE // 2
    box = (left, middle - _SWATCH[1] // 2, left + _SWATCH[0] - 1, middle + _SWATCH[1] // 2 - 1)
    edge = UNSEEN_COLOUR if entry.unseen else FAINT
    draw.rounded_rectangle(box, radius=3, fill=entry.color, outline=edge, width=3 if entry.unseen else 1)
    text = font(TEXT_SIZE)
    start = left + _SWATCH[0] + _GAP
    draw.text((start, middle), entry.label, font=text, fill=INK, anchor="lm")
    end = start + text.getlength(entry.label) + _GAP
    draw.text((end, middle), _count(entry), font=text, fill=FAINT, anchor="lm")
