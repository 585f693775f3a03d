import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from shared_data import shared_data

from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.data.formats.panoptic_png import (
    decode_panoptic_png,
    decode_panoptic_runs,
    read_panoptic_png,
    write_panoptic_png,
)
from pipelines.metrics.segment_runs import runs_of

IDS = (0, 1, 2, 255, 256, 257, 65536, 65537, 2**24 - 1)


def test_colours_are_little_endian_digits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [255, 255, 255]]], np.uint8)).save(tmp_path / "a.png")
    ids = read_panoptic_png(tmp_path / "a.png")
    assert ids.dtype == np.int32
    assert ids.tolist() == [[1, 256], [65536, 2**24 - 1]]


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint32, np.uint8])
def test_what_is_written_is_read(tmp_path: Path, dtype: type) -> None:
    ids = np.random.default_rng(0).integers(0, min(2**24, np.iinfo(dtype).max), (7, 11)).astype(dtype)
    write_panoptic_png(tmp_path / "new" / "a.png", ids)
    assert np.array_equal(read_panoptic_png(tmp_path / "new" / "a.png"), ids)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize("ids", [np.array([[-1]]), np.array([[2**24]]), np.array([1, 2]), np.zeros((0, 3), int)])
def test_ids_that_fit_no_colour_are_refused(tmp_path: Path, ids: np.ndarray) -> None:
    with pytest.raises(ValueError, match="ids must be"):
        write_panoptic_png(tmp_path / "a.png", ids)
    assert list(tmp_path.iterdir()) == []


def test_opaque_alpha_is_accepted_and_transparency_is_not(tmp_path: Path) -> None:
    rgba = np.array([[[7, 1, 0, 255], [9, 0, 0, 255]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "opaque.png")
    assert read_panoptic_png(tmp_path / "opaque.png").tolist() == [[263, 9]]
    rgba[0, 0, 3] = 254
    Image.fromarray(rgba).save(tmp_path / "see_through.png")
    with pytest.raises(CorruptFileError, match="transparency"):
        read_panoptic_png(tmp_path / "see_through.png")


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_other_modes_hold_no_ids(tmp_path: Path, mode: str) -> None:
    Image.new("L", (4, 4), 3).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(CorruptFileError, match=f"mode {mode}") as caught:
        read_panoptic_png(tmp_path / "a.png")
    assert caught.value.file == tmp_path / "a.png"
    assert caught.value.mend


def test_a_palette_is_expanded_unless_it_is_transparent(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([7, 1, 0, 9, 0, 2])
    image.putdata([0, 1])
    image.save(tmp_path / "a.png")
    assert read_panoptic_png(tmp_path / "a.png").tolist() == [[263, 9 + 2 * 65536]]
    image.save(tmp_path / "b.png", transparency=0)
    with pytest.raises(CorruptFileError, match="mode P"):
        read_panoptic_png(tmp_path / "b.png")


def test_a_jpeg_in_disguise_holds_no_ids(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (3, 0, 0)).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(CorruptFileError, match="JPEG"):
        read_panoptic_png(tmp_path / "a.png")


@pytest.mark.parametrize("keep", [0, 4, 40, 200, -200])
def test_a_truncated_file_is_corrupt(tmp_path: Path, keep: int) -> None:
    ids = np.random.default_rng(0).integers(0, 2**24, (40, 40))
    write_panoptic_png(tmp_path / "a.png", ids)
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:keep])
    with pytest.raises(CorruptFileError, match="not readable") as caught:
        read_panoptic_png(tmp_path / "a.png")
    assert caught.value.mend


def test_damaged_bytes_are_corrupt(tmp_path: Path) -> None:
    write_panoptic_png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 2**24, (40, 40)))
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[60:80] = bytes(20)
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(CorruptFileError, match="not readable"):
        read_panoptic_png(tmp_path / "a.png")


def test_a_missing_file_or_a_folder_is_an_error_with_a_mend(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(ConcatError) as caught:
            read_panoptic_png(path)
        assert caught.value.file == path
        assert caught.value.mend


@given(arrays(np.int32, st.tuples(st.integers(1, 5), st.integers(1, 7)), elements=st.sampled_from(IDS)), st.booleans())
@settings(max_examples=150, deadline=None)
def test_runs_are_those_of_the_map(ids: np.ndarray, plain: bool) -> None:
    out = io.BytesIO()
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
    Image.fromarray(colours).convert("RGB" if plain else "RGBA").save(out, "PNG")
    runs, slow = decode_panoptic_runs(out.getvalue(), Path("a.png")), runs_of(ids)
    assert np.array_equal(decode_panoptic_png(out.getvalue(), Path("a.png")), ids)
    assert runs.starts.tolist() == slow.starts.tolist()
    assert runs.ids[runs.segments].tolist() == slow.ids[slow.segments].tolist()
    assert runs.shape == slow.shape


def test_runs_of_a_damaged_file_are_refused() -> None:
    with pytest.raises(CorruptFileError, match="not readable"):
        decode_panoptic_runs(b"no png", Path("a.png"))


def test_real_pngs_hold_the_ids_of_their_json() -> None:
    folder = shared_data("coco_panoptic_100train") / "annotations"
    annotations = json.loads((folder / "panoptic_train2017.json").read_bytes())["annotations"]
    for annotation in annotations[:10]:
        ids, areas = np.unique(
            read_panoptic_png(folder / "panoptic_train2017" / annotation["file_name"]), return_counts=True
        )
        found = {i: area for i, area in zip(ids.tolist(), areas.tolist(), strict=True) if i}
        assert found == {segment["id"]: segment["area"] for segment in annotation["segments_info"]}
