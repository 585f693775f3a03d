"""Runs of equal pixels in a PNG, found while its rows are decoded: no picture is made.

Decoding PNGs is nearly all that panoptic scoring from files does. This takes a fifth of PIL's time, for the one form
that panoptic PNGs are published in. Only scoring imports it, since importing numba takes half a second.
"""

import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import deflate
import numba
import numpy as np
from numba import njit
from numpy.typing import NDArray
from PIL import Image

from pipelines.base.files import alone
from pipelines.base.progress import Reporter, SilentReporter

_START: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_RGB_OF_8_BITS: Final = bytes([8, 2, 0, 0, 0])  # depth, colour type, compression, filters, interlacing
_HEADER_END: Final = 33
_END: Final = b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))


def rgb_runs(data: bytes) -> tuple[NDArray[np.int32], NDArray[np.int32], tuple[int, int]] | None:
    """The runs of equal pixels, row after row, of an RGB PNG of 8 bits that holds nothing but pixels.

    Returns:
        (n,) index of each run's first pixel; (n,) its colour, R + 256·G + 65536·B; (H, W). None for any other form
        and for whatever is damaged: PIL has to judge it.
    """
    size = _size(data)
    if size is None or (compressed := _pixel_chunks(data)) is None:
        return None
    height, width = size
    length = height * (3 * width + 1)
    try:
        rows = np.frombuffer(deflate.zlib_decompress(compressed, length), np.uint8)  # checks its Adler-32
    except deflate.DeflateError:
        return None
    if rows.size != length or rows[:: 3 * width + 1].max() > 4:
        return None
    build_once(SilentReporter())
    starts, colours = np.empty((2, height * width), np.int32)
    n = _find_runs(rows.reshape(height, -1), starts, colours)
    return starts[:n].copy(), colours[:n].copy(), size


def build_once(reporter: Reporter) -> None:
    """Compiles what `rgb_runs` runs, unless that lies on disk already; says so, since it takes seconds.

    Of several processes that come to it at once, one compiles and the others wait for what it keeps. Call it before
    processes are started, so that it is said.
    """
    if _find_runs.signatures:  # this process has it
        return
    folder = _folder()
    if folder is not None and not _is_built(folder):
        with alone(folder / f"{Path(__file__).stem}._find_runs"):
            if not _is_built(folder):
                reporter.say("Building the PNG reader, once on this machine: some 10 s.")
                _run_once()
    _run_once()


def _run_once() -> None:
    _find_runs(np.zeros((1, 4), np.uint8), *np.empty((2, 1), np.int32))


def _folder() -> Path | None:
    """Where numba keeps what it compiled: $NUMBA_CACHE_DIR, __pycache__ or the user's cache; None: nowhere."""
    path = _find_runs.stats.cache_path
    return None if path is None else Path(path)


def _is_built(folder: Path) -> bool:
    """Whether the compiled function lies on disk, made from this source; numba keeps an index file of each."""
    source = Path(__file__)
    built = folder.glob(f"{source.stem}._find_runs-*.nbi")
    return any(index.stat().st_mtime >= source.stat().st_mtime for index in built)


def _size(data: bytes) -> tuple[int, int] | None:
    """(H, W) by an undamaged header of the right form; None if it is another."""
    if not data.startswith(_START) or len(data) < _HEADER_END or data[24:29] != _RGB_OF_8_BITS:
        return None
    width, height, checksum = struct.unpack(">II5xI", data[16:_HEADER_END])
    fits = 0 < width * height <= (Image.MAX_IMAGE_PIXELS or 0)
    return (height, width) if fits and checksum == zlib.crc32(data[12:29]) else None


def _pixel_chunks(data: bytes) -> bytes | None:
    """What the pixel chunks hold; None if anything but the end follows the header beside them."""
    parts, position, end = [], _HEADER_END, len(data) - len(_END)
    while position < end:
        length, name = struct.unpack_from(">I4s", data, position)
        if name != b"IDAT":
            return None
        parts.append(data[position + 8 : position + 8 + length])
        position += 12 + length
    return b"".join(parts) if position == end and data.endswith(_END) else None


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # no folder to write the compiled function to
        with suppress(RuntimeError, OSError):
            _keep_for_this_run()
            return njit(cache=True)(function)
        return njit(function)


@cache
def _keep_for_this_run() -> tempfile.TemporaryDirectory[str]:
    """Lets numba write to a folder that goes with this process; those that it starts read there."""
    folder = tempfile.TemporaryDirectory(prefix="concat-numba-")
    os.environ["NUMBA_CACHE_DIR"] = folder.name
    numba.config.CACHE_DIR = folder.name  # type: ignore[attr-defined]
    return folder


@_compiled
def _find_runs(rows, starts, colours):  # type: ignore[no-untyped-def]
    """Fills starts and colours, (H·W,) each, from H×(1+3W) filtered rows; returns how many runs there are."""
    width = (rows.shape[1] - 1) // 3
    row = np.zeros(width, np.int32)
    n, last = 0, -1
    for y in range(rows.shape[0]):
        _unfilter(rows[y, 0], rows[y, 1:], row)
        for x in range(width):
            if row[x] != last:
                last = row[x]
                starts[n], colours[n] = y * width + x, last
                n += 1
    return n


@_compiled
def _unfilter(kind, residuals, row):  # type: ignore[no-untyped-def]
    """Turns a row of pixels, integers of three bytes, into the one below it (PNG specification, section 9)."""
    left = corner = 0
    if kind == 2:  # most rows; a loop of its own lets the compiler take several pixels at once
        for x in range(row.size):
            row[x] = _sum(row[x], _pixel(residuals, x))
        return
    for x in range(row.size):
        up = row[x]
        if kind == 0:
            predicted = 0
        elif kind == 1:
            predicted = left
        elif kind == 3:
            predicted = (left & up) + (((left ^ up) & 0xFEFEFE) >> 1)
        else:
            predicted = _paeth(left, up, corner)
        left, corner = _sum(predicted, _pixel(residuals, x)), up
        row[x] = left


@_compiled
def _pixel(residuals, x):  # type: ignore[no-untyped-def]
    return np.int32(residuals[3 * x]) | np.int32(residuals[3 * x + 1]) << 8 | np.int32(residuals[3 * x + 2]) << 16


@_compiled
def _sum(a, b):  # type: ignore[no-untyped-def]
    """Byte by byte, modulo 256."""
    return (a & 0xFF00FF) + (b & 0xFF00FF) & 0xFF00FF | (a & 0xFF00) + (b & 0xFF00) & 0xFF00


@_compiled
def _paeth(left, up, corner):  # type: ignore[no-untyped-def]
    """Byte by byte, whichever of the three is nearest to left + up − corner."""
    if up == corner:
        return left
    if left == corner:
        return up
    nearest = 0
    for shift in (0, 8, 16):
        a, b, c = left >> shift & 255, up >> shift & 255, corner >> shift & 255
        to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
        nearest |= (a if to_a <= to_b and to_a <= to_c else b if to_b <= to_c else c) << shift
    return nearest
