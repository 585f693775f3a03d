"""Pages of pictures to look at: qualitative panels, and contact sheets to check a data set by eye."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from pipelines.base.files import atomic_path
from pipelines.draw.legend import FAINT, INK, LEGEND_HEIGHT, TEXT_SIZE, LegendEntry, category_legend, mark_legend
from pipelines.draw.overlay import PANEL_SIDE, LabelledSegment, Picture, display_size, font, overlay, resized

__all__ = ["LabelledSegment", "LegendEntry", "contact_sheet", "overlay", "panel_page", "save_png"]

MARGIN: Final = 28
GAP: Final = 12
TITLE_HEIGHT: Final = 28
HEADER_HEIGHT: Final = 36


def panel_page(rows: Sequence[tuple[str, Sequence[tuple[str, Picture]]]], *, side: int = PANEL_SIDE) -> Image.Image:
    """A page with a row of pictures for each image, such as image, ground truth, inductive and transductive.

    Args:
        rows: title of the row and its pictures (uint8, H×W×3), each with the title of its column; every row has the
            columns of the first.
        side: longer side of a picture on the page in px, to which photographs are resized.

    Raises:
        ValueError: there is no row, or rows differ in columns.
    """
    columns = [title for title, _ in rows[0][1]] if rows else []
    if not columns or any([title for title, _ in pictures] != columns for _, pictures in rows):
        raise ValueError("a page needs rows of the same columns")
    page, places = _laid_out([[picture for _, picture in pictures] for _, pictures in rows], side, HEADER_HEIGHT)
    draw = ImageDraw.Draw(page)
    for title, (left, _) in zip(columns, places[0], strict=True):
        draw.text(
            (left, MARGIN + HEADER_HEIGHT // 2), title, font=font(TEXT_SIZE + 5, bold=True), fill=INK, anchor="lm"
        )
    for (title, _), row_places in zip(rows, places, strict=True):
        _write_title(draw, row_places[0], title)
    return page


def contact_sheet(
    tiles: Sequence[tuple[str, Picture]],
    *,
    title: str = "",
    categories: Sequence[LegendEntry] = (),
    columns: int = 4,
    side: int = PANEL_SIDE,
) -> Image.Image:
    """Titled pictures (uint8, H×W×3) in rows of `columns`, each with its longer side brought to `side` px.

    Args:
        title: written above the sheet, if not empty.
        categories: listed with their colours below the pictures.

    Raises:
        ValueError: there is no tile.
    """
    if not tiles:
        raise ValueError("a sheet needs a tile")
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    header = HEADER_HEIGHT if title else 0
    letters = font(TEXT_SIZE + 3, bold=True)
    page, places = _laid_out(
        [[picture for _, picture in row] for row in rows], side, header, least_width=round(letters.getlength(title))
    )
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN + header // 2), title, font=letters, fill=INK, anchor="lm")
    for row, row_places in zip(rows, places, strict=True):
        for (name, picture), place in zip(row, row_places, strict=False):
            width = display_size(picture.shape[0], picture.shape[1], side)[1]
            _write_title(draw, place, _shortened(name, max(width, side // 2)))
    return _stacked(page, category_legend(categories, page.width - 2 * MARGIN)) if categories else page


def save_png(path: Path, picture: Image.Image | Picture) -> None:
    """Writes a picture as PNG, atomically."""
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    with atomic_path(path) as partial:
        picture.save(partial, format="PNG")


def _laid_out(
    rows: Sequence[Sequence[Picture]], side: int, header: int, *, least_width: int = 0
) -> tuple[Image.Image, list[list[tuple[int, int]]]]:
    """A page with pictures and legend, and where each column of each row begins (left, top), below a title's room."""
    rows = [
        [resized(picture, display_size(picture.shape[0], picture.shape[1], side)) for picture in row] for row in rows
    ]
    width = max(picture.shape[1] for row in rows for picture in row)
    lefts = [MARGIN + column * (width + GAP) for column in range(max(len(row) for row in rows))]
    places, bottom = [], MARGIN + header
    for row in rows:
        places.append([(left, bottom + TITLE_HEIGHT) for left in lefts])
        bottom += TITLE_HEIGHT + max(picture.shape[0] for picture in row) + GAP
    legend = mark_legend()
    page_width = max(lefts[-1] + width, MARGIN + max(legend.width, least_width)) + MARGIN
    page = Image.new("RGB", (page_width, bottom + LEGEND_HEIGHT), "white")
    for row, row_places in zip(rows, places, strict=True):
        for picture, (left, top) in zip(row, row_places, strict=False):
            page.paste(Image.fromarray(picture), (left, top))
    page.paste(legend, (MARGIN, bottom))
    return page, places


def _write_title(draw: ImageDraw.ImageDraw, place: tuple[int, int], title: str) -> None:
    left, top = place
    draw.text((left, top - TITLE_HEIGHT // 2 + 1), title, font=font(TEXT_SIZE), fill=FAINT, anchor="lm")


def _shortened(name: str, width: int) -> str:
    """A file name that fits into `width` px; its end tells more than its beginning."""
    if font(TEXT_SIZE).getlength(name) <= width:
        return name
    kept = next((n for n in range(len(name) - 1, 0, -1) if font(TEXT_SIZE).getlength("…" + name[-n:]) <= width), 1)
    return "…" + name[-kept:]


def _stacked(page: Image.Image, legend: Image.Image) -> Image.Image:
    """A page with a legend below it."""
    size = (max(page.width, legend.width + 2 * MARGIN), page.height + legend.height + MARGIN)
    whole = Image.new("RGB", size, "white")
    whole.paste(page, (0, 0))
    whole.paste(legend, (MARGIN, page.height))
    return whole
