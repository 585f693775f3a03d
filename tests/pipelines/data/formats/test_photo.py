from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.data.formats.photo import pixels_of

COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [90, 90, 90], [255, 255, 255]]], np.uint8)
UPRIGHT_BY_EXIF = {  # orientation → how a camera that is held so stores the upright picture
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    6: lambda p: np.rot90(p),
    8: lambda p: np.rot90(p, -1),
}


@pytest.mark.parametrize("orientation", UPRIGHT_BY_EXIF)
def test_the_cameras_orientation_is_followed(tmp_path: Path, orientation: int) -> None:
    stored = Image.fromarray(np.ascontiguousarray(UPRIGHT_BY_EXIF[orientation](COLOURS)))
    exif = stored.getexif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(pixels_of(tmp_path / "photo.png"), COLOURS)
    assert np.array_equal(pixels_of(str(tmp_path / "photo.png")), COLOURS)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "L", "LA", "1", "I", "F", "I;16", "YCbCr", "HSV"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray((np.asarray(Image.fromarray(COLOURS).convert("L")).astype(np.uint16) << 8) + 17)
    else:
        image = Image.fromarray(COLOURS).convert(mode)
    pixels = pixels_of(image)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (2, 3, 3))
    expected = COLOURS
    if mode in ("L", "LA", "I", "F", "I;16"):
        expected = np.asarray(Image.fromarray(COLOURS).convert("L").convert("RGB"))
    if mode not in ("1", "P"):
        assert np.abs(pixels.astype(int) - expected).max() <= 2
    assert pixels[0, 0].tolist() != pixels[1, 2].tolist()


def test_grey_of_16_bits_is_scaled_whatever_pil_calls_it() -> None:
    values = np.array([[0, 256, 32768, 65535]], np.uint16)
    for image in (Image.fromarray(values), Image.fromarray(values.astype(np.int32))):
        assert pixels_of(image)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparent_is_white() -> None:
    half = np.dstack([COLOURS, np.array([[255, 0, 255], [255, 0, 255]], np.uint8)])
    pixels = pixels_of(Image.fromarray(half, "RGBA"))
    assert pixels[:, 1].tolist() == [[255, 255, 255]] * 2
    assert np.array_equal(pixels[:, [0, 2]], COLOURS[:, [0, 2]])


def test_arrays_are_taken_as_they_are_or_refused() -> None:
    assert np.array_equal(pixels_of(COLOURS[:, ::-1]), COLOURS[:, ::-1])
    for wrong in (COLOURS[..., 0], COLOURS.astype(np.float32), np.zeros((0, 3, 3), np.uint8), COLOURS[..., :2]):
        with pytest.raises(ConcatError, match="uint8, H×W×3"):
            pixels_of(wrong)


def test_files_that_are_no_pictures_are_named(tmp_path: Path) -> None:
    Image.fromarray(np.tile(COLOURS, (40, 40, 1))).save(tmp_path / "whole.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:400])
    (tmp_path / "text.png").write_text("no picture")
    for name in ("half.jpg", "text.png"):
        with pytest.raises(CorruptFileError, match="not readable") as caught:
            pixels_of(tmp_path / name)
        assert caught.value.file == tmp_path / name
    for path in (tmp_path / "missing.png", tmp_path):
        with pytest.raises(ConcatError, match="not readable"):
            pixels_of(path)
