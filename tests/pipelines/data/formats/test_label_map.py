"""Label maps: the values as they stand, in every form they are published in."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
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


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (3, 3, 4)), ("RGBA", (3, 3, 3, 254)), ("LA", (3, 0))])
def test_colours_and_what_shows_through_are_no_values(mode: str, colour: tuple[int, ...]) -> None:
    image = Image.new(mode, (3, 2), colour[:1] * (len(colour) - 1) + (255,) if mode != "RGB" else (7, 7, 7))
    image.putpixel((2, 1), colour)
    with pytest.raises(CorruptFileError, match=rf"mode {mode}, with the colour .* at x 2, y 1") as caught:
        decode_label_map(as_png(image), FILE)
    assert caught.value.file == FILE
    assert caught.value.mend


SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=6)


@given(arrays(np.uint8, SHAPES, elements=st.integers(0, 1)) | arrays(np.uint8, SHAPES, elements=st.integers(0, 255)))
def test_values_are_the_same_in_every_spelling(values: NDArray[np.uint8]) -> None:
    grey = Image.fromarray(values)
    spelt = [as_png(grey), *(as_png(grey.convert(mode)) for mode in ("RGB", "RGBA", "LA"))]
    if values.max() <= 1:
        spelt.append(as_png(Image.fromarray(values.astype(bool))))
    for data in spelt:
        assert np.array_equal(decode_label_map(data, FILE), values)
    for kind in (np.uint8, np.int64, np.float32, *([np.bool_] if values.max() <= 1 else [])):
        assert np.array_equal(decode_label_map(_as_npy(values.astype(kind)), Path("a.npy")), values)


@pytest.mark.parametrize("values", [[[0.5]], [[-1]], [[65536]], [[float("nan")]], [1, 2], [[[1]]], [["a"]]])
def test_an_array_of_something_else_is_refused(values: list[object]) -> None:
    with pytest.raises(CorruptFileError, match="Not a label map: an array"):
        decode_label_map(_as_npy(np.array(values)), Path("a.npy"))


def test_an_array_of_objects_is_not_unpacked() -> None:
    with pytest.raises(CorruptFileError, match="Not an array of numpy"):
        decode_label_map(_as_npy(np.array([[{}]], dtype=object)), Path("a.npy"))


def _as_npy(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize("keep", [0, 20, 50, -40])
def test_a_truncated_file_is_corrupt(keep: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (30, 30), np.uint8)
    with pytest.raises(CorruptFileError, match="not readable"):
        decode_label_map(as_png(Image.fromarray(values))[:keep], FILE)


def test_a_value_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    for values in (np.array([[-1]]), np.array([[65536]]), np.array([1, 2])):
        with pytest.raises(ValueError, match="values must be"):
            write_label_map(tmp_path / "a.png", values)
