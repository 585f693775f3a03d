from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shared_data import shared_data

from pipelines.base.files import read_json
from pipelines.data.formats.panoptic_png import read_panoptic_png
from pipelines.draw.panels import LabelledSegment, LegendEntry, contact_sheet, overlay, panel_page, save_png


def picture(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), (value, 0, 255 - value), np.uint8)


def places(page: Image.Image, value: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a picture on the page; it must be there whole."""
    ys, xs = np.nonzero((np.asarray(page) == np.array([value, 0, 255 - value])).all(axis=-1))
    left, top, right, bottom = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    assert len(ys) == (right - left) * (bottom - top)
    return int(left), int(top), int(right), int(bottom)


def test_a_page_lines_up_rows_and_columns() -> None:
    page = panel_page(
        [
            ("first", [("image", picture(96, 96, 10)), ("ground truth", picture(200, 200, 20))]),
            ("second", [("image", picture(50, 100, 30)), ("ground truth", picture(100, 200, 40))]),
        ],
        side=200,
    )
    a, b, c, d = (places(page, value) for value in (10, 20, 30, 40))
    assert (a[2] - a[0], a[3] - a[1]) == (200, 200)  # small ones are enlarged
    assert (c[2] - c[0], c[3] - c[1]) == (200, 100)
    assert a[0] == c[0] < b[0] == d[0]
    assert a[1] == b[1] < a[3] < c[1] == d[1]
    assert b[2] < page.width
    assert d[3] < page.height


def test_titles_and_legend_are_written() -> None:
    page = np.asarray(panel_page([("first", [("image", picture(100, 100, 10))])], side=100))
    plain = np.asarray(panel_page([("", [("", picture(100, 100, 10))])], side=100))
    rows = np.nonzero((page != plain).any(axis=(1, 2)))[0]
    top = places(Image.fromarray(page), 10)[1]
    assert rows.max() < top
    assert (page[top + 110 :] < 128).any()  # the legend below


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [("a", [])],
        [("a", [("image", picture(9, 9, 1))]), ("b", [("truth", picture(9, 9, 1))])],
        [("a", [("image", picture(9, 9, 1))]), ("b", [])],
    ],
)
def test_rows_of_other_columns_make_no_page(rows: list) -> None:
    with pytest.raises(ValueError, match="same columns"):
        panel_page(rows)


def test_a_contact_sheet_wraps() -> None:
    sheet = contact_sheet([(str(n), picture(60, 80, 10 * n)) for n in range(1, 6)], columns=3, side=80)
    spots = [places(sheet, 10 * n) for n in range(1, 6)]
    assert [spot[0] for spot in spots] == [spots[0][0], spots[1][0], spots[2][0], spots[0][0], spots[1][0]]
    assert [spot[1] for spot in spots] == [spots[0][1]] * 3 + [spots[3][1]] * 2
    with pytest.raises(ValueError, match="tile"):
        contact_sheet([])


def test_saved_pictures_are_read_again(tmp_path: Path) -> None:
    save_png(tmp_path / "new" / "a.png", picture(5, 7, 3))
    save_png(tmp_path / "new" / "b.png", Image.fromarray(picture(5, 7, 3)))
    for name in ("a.png", "b.png"):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / name)), picture(5, 7, 3))
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_real_image_with_many_segments() -> None:
    folder = shared_data("coco_panoptic_100train")
    content = read_json(folder / "annotations" / "panoptic_train2017.json")
    annotation = max(content["annotations"], key=lambda a: len(a["segments_info"]))
    ids = read_panoptic_png(folder / "annotations" / "panoptic_train2017" / annotation["file_name"])
    image = np.asarray(Image.open(folder / "train2017" / annotation["file_name"].replace("png", "jpg")).convert("RGB"))
    names = {c["id"]: c for c in content["categories"]}
    segments = [
        LabelledSegment(
            s["id"], names[s["category_id"]]["name"], (90, 160, 70), False, bool(names[s["category_id"]]["isthing"])
        )
        for s in annotation["segments_info"]
    ]
    page = panel_page([("real", [("image", image), ("ground truth", overlay(image, ids, segments))])])
    assert page.width > 2 * 300


def test_a_titled_sheet_with_categories_keeps_its_tiles_and_lists_the_categories_below() -> None:
    tiles = [("a", picture(60, 80, 10)), ("b", picture(60, 80, 20))]
    entries = [
        LegendEntry("cat", (7, 99, 201), True, False, 1200),
        LegendEntry("sky-other-merged", (9, 9, 250), False, True, 3),
    ]
    plain, sheet = contact_sheet(tiles, side=80), contact_sheet(tiles, side=80, title="my data", categories=entries)
    for value in (10, 20):
        left, top, right, bottom = places(plain, value)
        moved = places(sheet, value)
        assert (moved[0], moved[2]) == (left, right)
        assert moved[1] - top == moved[3] - bottom > 0  # the title is above
    pixels = np.asarray(sheet)
    below = places(sheet, 10)[3]
    found = {}
    for entry in entries:
        ys, _ = np.nonzero((pixels == np.array(entry.color)).all(axis=-1))
        assert ys.min() > below
        found[entry.name] = ys.min()
    assert found["sky-other-merged"] < found["cat"]  # unseen ones come first


def test_a_long_file_name_is_cut_to_the_width_of_its_tile() -> None:
    name = "a/very/long/way/down/" + 20 * "folder/" + "0001.jpg"
    long, short = (contact_sheet([(n, picture(60, 80, 10)), ("b", picture(60, 80, 20))], side=80) for n in (name, "a"))
    left = places(short, 20)[0]
    assert long.size == short.size
    assert np.array_equal(np.asarray(long)[:, left:], np.asarray(short)[:, left:])  # nothing runs into its neighbour
