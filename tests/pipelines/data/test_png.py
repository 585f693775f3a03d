"""The fast decoder against PIL: the same pixels, or no answer."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from shared_data import shared_data

from pipelines.data.panoptic_png import decode_panoptic_png
from pipelines.data.png import decode_plain_png
from pipelines.errors import CorruptFileError

Mode = Literal["L", "RGB"]
COLOUR_TYPES = {"L": 0, "RGB": 2}


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, header: bytes, *chunks: bytes) -> bytes:
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">II", width, height) + header)
    return start + b"".join(chunks) + chunk(b"IEND", b"")


def by_pil(data: bytes) -> np.ndarray | None:
    try:
        return np.asarray(Image.open(io.BytesIO(data)))
    except (OSError, SyntaxError):
        return None


def picture(mode: Mode, **options: object) -> bytes:
    size = (7, 5) if mode == "L" else (7, 5, 3)
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size, np.uint8)).save(out, "PNG", **options)
    return out.getvalue()


@st.composite
def written_pngs(draw: st.DrawFn) -> tuple[Mode, bytes]:
    """PNGs with any filter in any row and any split into chunks."""
    mode: Mode = draw(st.sampled_from(["L", "RGB"]))
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    row = width * (3 if mode == "RGB" else 1)
    byte = st.sampled_from([0, 0, 0, 1, 2, 127, 128, 254, 255])
    rows = [bytes([draw(st.integers(0, 4)), *draw(st.lists(byte, min_size=row, max_size=row))]) for _ in range(height)]
    stream = zlib.compress(b"".join(rows), draw(st.integers(0, 9)))
    cut = draw(st.integers(0, len(stream)))
    header = bytes([8, COLOUR_TYPES[mode], 0, 0, 0])
    return mode, png(width, height, header, chunk(b"IDAT", stream[:cut]), chunk(b"IDAT", stream[cut:]))


@given(written_pngs())
@settings(max_examples=400, deadline=None)
def test_every_filter_gives_the_pixels_of_pil(written: tuple[Mode, bytes]) -> None:
    mode, data = written
    pixels = decode_plain_png(data, mode)
    assert pixels is not None
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(data))))


@given(written_pngs(), st.data())
@settings(max_examples=600, deadline=None)
def test_a_damaged_file_gives_what_pil_gives_or_nothing(written: tuple[Mode, bytes], draw: st.DataObject) -> None:
    mode, data = written
    at = draw.draw(st.integers(0, len(data) - 1))
    flipped = data[:at] + bytes([data[at] ^ draw.draw(st.integers(1, 255))]) + data[at + 1 :]
    damaged = draw.draw(st.sampled_from([data[:at], data[at:], data[:at] + data[at + 1 :], data + data[at:], flipped]))
    pixels = decode_plain_png(damaged, mode)
    if pixels is not None:
        theirs = by_pil(damaged)
        assert theirs is not None
        assert np.array_equal(pixels, theirs)


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_an_id_map_or_corrupt(junk: bytes, starts_well: bool) -> None:
    data = picture("RGB")[:40] + junk if starts_well else junk
    with pytest.raises(CorruptFileError, match="not readable"):
        decode_panoptic_png(data, Path("a.png"))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_one_pixel(mode: Mode) -> None:
    out = io.BytesIO()
    Image.new(mode, (1, 1), 200 if mode == "L" else (1, 2, 3)).save(out, "PNG")
    pixels = decode_plain_png(out.getvalue(), mode)
    assert pixels is not None
    assert pixels.tolist() == ([[200]] if mode == "L" else [[[1, 2, 3]]])


def test_the_mode_must_be_the_one_asked_for() -> None:
    assert decode_plain_png(picture("L"), "RGB") is None
    assert decode_plain_png(picture("RGB"), "L") is None


def test_other_forms_are_left_to_pil() -> None:
    noise = zlib.compress(bytes(100))
    assert decode_plain_png(png(3, 3, bytes([16, 2, 0, 0, 0]), chunk(b"IDAT", noise)), "RGB") is None
    assert decode_plain_png(png(3, 3, bytes([8, 2, 0, 0, 1]), chunk(b"IDAT", noise)), "RGB") is None
    assert decode_plain_png(picture("RGB", dpi=(72, 72)), "RGB") is None
    assert decode_plain_png(picture("L", transparency=3), "L") is None
    assert decode_plain_png(picture("RGB") + b"more", "RGB") is None
    assert decode_plain_png(png(3, 3, bytes([8, 2, 0, 0, 0])), "RGB") is None


def test_a_wrong_checksum_of_the_pixels_is_damage() -> None:
    data = bytearray(picture("RGB"))
    data[-13] ^= 1  # the last byte before IEND
    assert decode_plain_png(bytes(data), "RGB") is None


def test_a_picture_of_enormous_size_is_left_to_pil(monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture("RGB")
    assert decode_plain_png(data, "RGB") is not None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 34)
    assert decode_plain_png(data, "RGB") is None


def test_real_pngs_are_plain_and_equal_pil() -> None:
    folder = shared_data("coco_panoptic_100train") / "annotations"
    annotations = json.loads((folder / "panoptic_train2017.json").read_bytes())["annotations"]
    for annotation in annotations:
        data = (folder / "panoptic_train2017" / annotation["file_name"]).read_bytes()
        pixels = decode_plain_png(data, "RGB")
        assert pixels is not None
        assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(data))))
