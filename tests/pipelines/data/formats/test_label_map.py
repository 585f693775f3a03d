"""Label maps: the values as they stand, in every form they are published in."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.base.errors import CorruptFileError
from pipelines.data.formats.label_map import decode_label_map, write_label_map

FILE = Path("labels/a.png")


def as_png(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


@pytest.mark.parametrize("highest", [255, 65535])
def test_what_is_written_is_read(tmp_path: Path, highest: int) -> None:
    values = np.random.default_rng(0).integers(0, highest + 1, (7, 11))
    values[0, 0] = highest
    write_label_map(tmp_path / "a.png", values)
    read = decode_label_map((tmp_path / "a.png").read_bytes(), FILE)
    assert read.dtype == np.int32
    assert np.array_equal(read, values)


def test_a_palette_is_not_followed() -> None:
    values = np.array([[0, 1, 255], [15, 1, 0]], np.uint8)
    image = Image.fromarray(values).convert("P")
    image.putdata(values.ravel().tolist())
    image.putpalette([7, 8, 9] * 256)
    assert decode_label_map(as_png(image), FILE).tolist() == values.tolist()


def test_remarks_in_the_file_change_nothing() -> None:
    values = np.array([[0, 1, 255], [15, 1, 0]], np.uint8)
    assert decode_label_map(as_png(Image.fromarray(values), dpi=(72, 72)), FILE).tolist() == values.tolist()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1", "LA"])
def test_colours_are_no_values(mode: str) -> None:
    with pytest.raises(CorruptFileError, match=f"mode {mode}") as caught:
        decode_label_map(as_png(Image.new(mode, (3, 2))), FILE)
    assert caught.value.file == FILE
    assert caught.value.mend


@pytest.mark.parametrize("keep", [0, 20, 50, -40])
def test_a_truncated_file_is_corrupt(keep: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (30, 30), np.uint8)
    with pytest.raises(CorruptFileError, match="not readable"):
        decode_label_map(as_png(Image.fromarray(values))[:keep], FILE)


def test_a_value_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    for values in (np.array([[-1]]), np.array([[65536]]), np.array([1, 2])):
        with pytest.raises(ValueError, match="values must be"):
            write_label_map(tmp_path / "a.png", values)
