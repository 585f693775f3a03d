"""The fast decoder against PIL: the same runs, or no answer."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from shared_data import shared_data

from pipelines.base.errors import CorruptFileError
from pipelines.data.formats.panoptic_png import decode_panoptic_runs
from pipelines.data.formats.png_runs import rgb_runs

HEADER = bytes([8, 2, 0, 0, 0])


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, header: bytes, *chunks: bytes) -> bytes:
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">II", width, height) + header)
    return start + b"".join(chunks) + chunk(b"IEND", b"")


def map_by_pil(data: bytes) -> np.ndarray | None:
    try:
        colours = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.int32)
    except (OSError, SyntaxError, ValueError):
        return None
    return colours @ [1, 256, 65536]


def runs_spelt_out(data: bytes) -> np.ndarray | None:
    found = rgb_runs(data)
    if found is None:
        return None
    starts, colours, (height, width) = found
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    assert (colours[1:] != colours[:-1]).all()
    return np.repeat(colours, np.diff(starts, append=height * width)).reshape(height, width)


def picture(mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(out, "PNG", **options)
    return out.getvalue()


@st.composite
def written_pngs(draw: st.DrawFn) -> bytes:
    """PNGs with any filter in any row, split into chunks anywhere."""
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    byte = st.sampled_from([0, 0, 0, 0, 0, 1, 2, 127, 128, 254, 255])
    rows = [
        bytes([draw(st.integers(0, 4)), *draw(st.lists(byte, min_size=3 * width, max_size=3 * width))])
        for _ in range(height)
    ]
    stream = zlib.compress(b"".join(rows), draw(st.integers(0, 9)))
    cut = draw(st.integers(0, len(stream)))
    return png(width, height, HEADER, chunk(b"IDAT", stream[:cut]), chunk(b"IDAT", stream[cut:]))


@given(written_pngs())
@settings(max_examples=400, deadline=None)
def test_every_filter_gives_the_pixels_of_pil(data: bytes) -> None:
    pixels = runs_spelt_out(data)
    assert pixels is not None
    assert np.array_equal(pixels, map_by_pil(data))


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("size", [(1, 1), (33, 50)])
def test_every_filter_on_noise(kind: int, size: tuple[int, int]) -> None:
    height, width = size
    rows = np.random.default_rng(kind).integers(0, 256, (height, 1 + 3 * width), np.uint8)
    rows[:, 0] = kind
    data = png(width, height, HEADER, chunk(b"IDAT", zlib.compress(rows.tobytes())))
    assert np.array_equal(runs_spelt_out(data), map_by_pil(data))


@given(written_pngs(), st.data())
@settings(max_examples=600, deadline=None)
def test_a_damaged_file_gives_what_pil_gives_or_nothing(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    flipped = data[:at] + bytes([data[at] ^ draw.draw(st.integers(1, 255))]) + data[at + 1 :]
    damaged = draw.draw(st.sampled_from([data[:at], data[at:], data[:at] + data[at + 1 :], data + data[at:], flipped]))
    pixels = runs_spelt_out(damaged)
    if pixels is not None:
        assert np.array_equal(pixels, map_by_pil(damaged))


@given(written_pngs(), st.data())
@settings(max_examples=300, deadline=None)
def test_damage_below_a_right_checksum_is_no_different(data: bytes, draw: st.DataObject) -> None:
    width, height = struct.unpack(">II", data[16:24])
    stream = bytearray(zlib.compress(draw.draw(st.binary(max_size=2 * height * (1 + 3 * width)))))
    stream[draw.draw(st.integers(0, len(stream) - 1))] ^= draw.draw(st.integers(0, 255))
    damaged = png(width, height, HEADER, chunk(b"IDAT", bytes(stream)))
    pixels = runs_spelt_out(damaged)
    if pixels is not None:
        assert np.array_equal(pixels, map_by_pil(damaged))


@given(st.binary(max_size=200), st.booleans())
@example(b"", True)
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_corrupt(junk: bytes, starts_well: bool) -> None:
    data = picture()[:40] + junk if starts_well else junk
    with pytest.raises(CorruptFileError, match="not readable"):
        decode_panoptic_runs(data, Path("a.png"))


@pytest.mark.parametrize("stream", [bytes(29), bytes(31), b"\5" + bytes(29)])
def test_rows_that_do_not_fit_are_left_to_pil(stream: bytes) -> None:
    assert rgb_runs(png(3, 3, HEADER, chunk(b"IDAT", zlib.compress(bytes(30))))) is not None
    assert rgb_runs(png(3, 3, HEADER, chunk(b"IDAT", zlib.compress(stream)))) is None


def test_other_forms_are_left_to_pil() -> None:
    pixels = chunk(b"IDAT", zlib.compress(bytes(30)))
    assert rgb_runs(picture()) is not None
    for header in ([16, 2, 0, 0, 0], [8, 0, 0, 0, 0], [8, 6, 0, 0, 0], [8, 3, 0, 0, 0], [8, 2, 0, 0, 1]):
        assert rgb_runs(png(3, 3, bytes(header), pixels)) is None
    assert rgb_runs(png(0, 3, HEADER, pixels)) is None
    assert rgb_runs(png(3, 3, HEADER)) is None
    assert rgb_runs(picture(dpi=(72, 72))) is None
    assert rgb_runs(picture() + b"more") is None


def test_a_wrong_sum_in_the_stream_is_damage() -> None:
    stream = bytearray(zlib.compress(bytes(30)))
    stream[-1] ^= 1
    assert rgb_runs(png(3, 3, HEADER, chunk(b"IDAT", bytes(stream)))) is None


def test_a_picture_of_enormous_size_is_left_to_pil(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rgb_runs(picture()) is not None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 34)
    assert rgb_runs(picture()) is None


def test_real_pngs_are_of_the_fast_form() -> None:
    folder = shared_data("coco_panoptic_100train") / "annotations"
    annotations = json.loads((folder / "panoptic_train2017.json").read_bytes())["annotations"]
    for annotation in annotations:
        data = (folder / "panoptic_train2017" / annotation["file_name"]).read_bytes()
        assert np.array_equal(runs_spelt_out(data), map_by_pil(data))


SCORING = """
import sys
sys.path.append({tests!r})
from pathlib import Path
from pipelines.base.progress import SilentReporter
from pipelines.scoring.panoptic import score_panoptic
from scoring_world import write_panoptic_pair

class Speaking(SilentReporter):
    def say(self, text):
        print(text)

if __name__ == "__main__":
    pair = write_panoptic_pair(Path(sys.argv[1]))
    score_panoptic(pair.truth, pair.predictions, workers=2, reporter=Speaking())
"""


def test_the_reader_is_built_once_before_processes_start_and_said(tmp_path: Path) -> None:
    root = Path(__file__).parents[4]
    (tmp_path / "scoring.py").write_text(SCORING.format(tests=str(root / "tests")))
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    # numba tells in its log what it compiled and kept, and what it found
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
        "NUMBA_DEBUG_CACHE": "1",
        "PYTHONPATH": path,
    }

    def score(world: str) -> str:
        command = [sys.executable, "scoring.py", world]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=300
        ).stdout

    first, second = score("one"), score("two")
    assert first.count("Building the PNG reader") == 1
    saved = [line for line in first.splitlines() if "data saved to" in line]
    assert saved
    assert len(saved) == len(set(saved))  # by one process
    assert "Building" not in second
    assert "saved to" not in second
    assert "data loaded from" in second


READING = """
import sys, time
from pathlib import Path
from pipelines.data.formats.panoptic_png import decode_panoptic_runs
from pipelines.base.parallel import in_processes
from pipelines.base import parallel
from pipelines.data.formats.png_runs import rgb_runs

def read(data):
    return len(rgb_runs(data)[0])

if __name__ == "__main__":
    parallel.usable_cores = lambda: 2
    data = Path(sys.argv[1]).read_bytes()
    workers = int(sys.argv[2])
    print("runs", *in_processes(read, [data] * 4, workers=workers) if workers else [read(data)])
"""


def _start_reading(folder: Path, workers: int, **environment: str) -> subprocess.Popen[str]:
    (folder / "reading.py").write_text(READING)
    (folder / "a.png").write_bytes(picture())
    root = str(Path(__file__).parents[4])
    environment = {**os.environ, "NUMBA_DEBUG_CACHE": "1", "PYTHONPATH": root, "TMPDIR": str(folder), **environment}
    command = [sys.executable, "reading.py", "a.png", str(workers)]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def _saved(said: list[str]) -> list[str]:
    return [line for text in said for line in text.splitlines() if "data saved to" in line]


def test_of_processes_that_begin_at_once_one_builds_the_reader(tmp_path: Path) -> None:
    started = [_start_reading(tmp_path, 0, NUMBA_CACHE_DIR=str(tmp_path / "numba")) for _ in range(3)]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert all("runs" in text for text in said)
    assert _saved(said)
    assert len(_saved(said)) == len(set(_saved(said)))


def test_where_nothing_can_be_kept_a_run_builds_it_once_all_the_same(tmp_path: Path) -> None:
    process = _start_reading(
        tmp_path, 2, NUMBA_CACHE_DIR="", NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator"
    )  # without a folder, that one finds none
    said = process.communicate(timeout=300)[0]
    assert "runs" in said
    assert _saved([said])
    assert len(_saved([said])) == len(set(_saved([said])))
    assert not list(tmp_path.glob("concat-numba-*"))
