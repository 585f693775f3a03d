import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_clip import Scenes, tiny_clip

from pipelines.base import parallel
from pipelines.base.errors import ConcatError, CorruptFileError
from pipelines.base.files import sha256
from pipelines.base.progress import SilentReporter
from pipelines.clip import fill
from pipelines.clip.encoder import ClipModel
from pipelines.clip.fill import fill_store
from pipelines.clip.masked import masked_image
from pipelines.clip.pictures import batched
from pipelines.clip.settings import ClipSettings
from pipelines.clip.store import ImageTokens, open_store

Clip = tuple[ClipModel, ClipSettings]
TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return tiny_clip(tmp_path_factory.mktemp("clip"), batch_size=7)


def filled(folder: Path, images: Scenes, clip: Clip, workers: int = 0) -> Path:
    return fill_store(folder, images, *clip, SilentReporter(), content="", workers=workers)


def slow_tokens(images: Scenes, index: int, clip: Clip, *, mirrored: bool = False) -> list[torch.Tensor]:
    """The complete image and each segment, one by one, by open_clip's own transform."""
    model, chosen = clip
    sample = images.sample(index)
    image, masks = sample.image.permute(1, 2, 0).numpy(), sample.masks.numpy()
    if mirrored:
        image, masks = image[:, ::-1].copy(), masks[:, :, ::-1]
    colour = (0, 0, 0) if chosen.fill == "black" else model.mean_colour
    pictures = [Image.fromarray(image)]
    pictures += [masked_image(image, mask, masked=chosen.masked, fill=colour) for mask in masks]
    return [model.encode_images(model.preprocess(picture)[None])[0] for picture in pictures]


def assert_tokens_are_the_slow_ones(tokens: ImageTokens, images: Scenes, clip: Clip) -> None:
    for view in range(tokens.views):
        for index, image_id in enumerate(images.image_ids):
            whole, *segments = slow_tokens(images, index, clip, mirrored=view == 1)
            torch.testing.assert_close(tokens.image_token(image_id, view).float(), whole, atol=1e-3, rtol=0)
            ids, found = tokens.segment_tokens(image_id, view)
            assert ids.tolist() == images.sample(index).segment_ids.tolist()
            for one, expected in zip(found, segments, strict=True):
                torch.testing.assert_close(one.float(), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [{}, {"masked": "crop"}, {"fill": "mean"}, {"masked": "crop", "fill": "mean"}, {"flipped_view": True}],
)
def test_tokens_equal_those_of_one_segment_at_a_time(tmp_path: Path, clip: Clip, changes: dict[str, str]) -> None:
    images, chosen = Scenes(5), (clip[0], clip[1].model_copy(update=changes))
    tokens = open_store(filled(tmp_path, images, chosen))
    assert tokens.dim == 16
    assert tokens.views == (2 if "flipped_view" in changes else 1)
    assert_tokens_are_the_slow_ones(tokens, images, chosen)


@settings(max_examples=8, deadline=None)
@given(count=st.integers(1, 12), chunk=st.integers(1, 5), batch=st.integers(1, 9), flipped=st.booleans())
def test_layout_fits_any_number_of_images(clip: Clip, count: int, chunk: int, batch: int, flipped: bool) -> None:
    images = Scenes(count)
    chosen = clip[1].model_copy(update={"batch_size": batch, "flipped_view": flipped})
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(fill, "CHUNK", chunk)
        path = filled(Path(folder), images, (clip[0], chosen))
        assert_tokens_are_the_slow_ones(open_store(path), images, (clip[0], chosen))
        store = zarr.open_group(path, mode="r")
        n, m = count, sum(index % 4 for index in range(count))
        assert store.metadata.zarr_format == 3
        expected = {"image/tokens": ((n, 16), "float16"), "segment/tokens": ((m, 16), "float16"),
                    "image/ids": ((n,), "int64"), "segment/ids": ((m,), "int64"),
                    "segment/offsets": ((n + 1,), "int64"), "done": ((n,), "bool")}  # fmt: skip
        for name, (shape, dtype) in expected.items():
            assert (store[name].shape, str(store[name].dtype)) == (shape, dtype), name
            assert store[name].compressors == ()


def test_segments_are_found_by_id_in_any_order(tmp_path: Path, clip: Clip) -> None:
    images = Scenes(8)
    tokens = open_store(filled(tmp_path, images, clip))
    image_id = images.image_ids[7]  # three segments
    ids, rows = tokens.segment_tokens(image_id)
    assert torch.equal(tokens.tokens_for(image_id, ids.flip(0)), rows.flip(0))
    assert torch.equal(tokens.tokens_for(image_id, [int(ids[1])]), rows[1:2])
    assert tokens.tokens_for(image_id, torch.empty(0, dtype=torch.int64)).shape == (0, 16)
    assert tokens.tokens_for(images.image_ids[4], []).shape == (0, 16)  # an image without segments
    with pytest.raises(ConcatError, match=f"segment 77 of image {image_id}"):
        tokens.tokens_for(image_id, [int(ids[0]), 77])
    with pytest.raises(ConcatError, match="image 12345"):
        tokens.image_token(12345)


def test_the_key_follows_all_that_changes_a_token_and_nothing_else(tmp_path: Path, clip: Clip) -> None:
    model, chosen = clip

    def path(images: Scenes, content: str = "", **changes: object) -> Path:
        return fill_store(tmp_path, images, model, chosen.model_copy(update=changes), SilentReporter(), content=content)

    base = path(Scenes(4))
    assert base.name.startswith("images-")
    assert base.suffix == ".zarr"
    assert path(Scenes(4), prompts="single", batch_size=3) == base
    others = {path(Scenes(5)), path(Scenes(4), "other files"), path(Scenes(4), masked="crop"),
              path(Scenes(4), fill="mean"), path(Scenes(4), flipped_view=True)}  # fmt: skip
    assert len(others | {base}) == 6


def test_a_complete_store_is_left_as_it_is(tmp_path: Path, clip: Clip) -> None:
    images = Scenes(4)
    path = filled(tmp_path, images, clip)
    images.reads = 0
    assert filled(tmp_path, images, clip) == path
    assert images.reads == 0
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == [path.name]


# --- interruption ---


class Interrupted(Exception):
    pass


class StoppingScenes(Scenes):
    stop_at = 9

    def sample(self, index: int) -> object:  # type: ignore[override]
        if index == self.stop_at:
            raise Interrupted
        return super().sample(index)


def test_an_interrupted_fill_goes_on_where_it_stopped_and_ends_the_same(
    tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "CHUNK", 4)
    undisturbed = filled(tmp_path / "a", Scenes(13), clip)
    with pytest.raises(Interrupted):
        filled(tmp_path / "b", StoppingScenes(13), clip)
    assert not list((tmp_path / "b").glob("*.zarr"))
    images = Scenes(13)
    resumed = filled(tmp_path / "b", images, clip)
    assert images.reads == 13 - 8  # two groups of four were done
    assert resumed.name == undisturbed.name
    assert sha256(resumed) == sha256(undisturbed)


@pytest.mark.parametrize("damage", ["no metadata", "other ids", "truncated ids", "done lost"])
def test_a_damaged_beginning_is_made_from_the_start(
    tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(fill, "CHUNK", 4)
    expected = sha256(filled(tmp_path / "a", Scenes(13), clip))
    with pytest.raises(Interrupted):
        filled(tmp_path / "b", StoppingScenes(13), clip)
    (partial,) = (tmp_path / "b").glob("*.partial")
    if damage == "no metadata":
        (partial / "segment/tokens/zarr.json").unlink()
    elif damage == "other ids":
        zarr.open_group(partial, mode="r+")["segment/ids"][0] = 4  # type: ignore[index]
    else:
        chunk = partial / ("done/c/0" if damage == "done lost" else "image/ids/c/0")
        chunk.write_bytes(chunk.read_bytes()[:3])
    images = Scenes(13)
    assert sha256(filled(tmp_path / "b", images, clip)) == expected
    assert images.reads == 13


SLOW_FILL = """
import os, sys, time
from pathlib import Path
from tiny_clip import Scenes, tiny_clip
from pipelines.base import parallel
from pipelines.base.progress import SilentReporter
from pipelines.clip import fill

class Slow(Scenes):
    def sample(self, index):
        time.sleep(0.02)
        Path(f"reads-{os.getpid()}").touch()
        return super().sample(index)

if __name__ == "__main__":
    parallel.usable_cores = lambda: 2
    fill.CHUNK = 4
    clip, images, workers = tiny_clip(Path()), Slow(120), int(sys.argv[1])
    fill.fill_store(Path("b"), images, *clip, SilentReporter(), content="", workers=workers)
"""


@pytest.mark.parametrize(
    ("workers", "how"),
    [(0, signal.SIGKILL), (2, signal.SIGKILL), (2, signal.SIGINT)],
    ids=["alone", "killed", "ctrl-c"],
)
def test_an_ended_process_loses_no_finished_group_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, how: signal.Signals
) -> None:
    (tmp_path / "fill.py").write_text(SLOW_FILL)
    process = subprocess.Popen(
        [sys.executable, "fill.py", str(workers)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which jobs in the background ignore
    )
    try:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "b").glob("*.partial/image/tokens/c/3")):  # the fourth group is being written
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if how is signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does: to all of them
        else:
            os.kill(process.pid, how)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert said.count("KeyboardInterrupt") == (how is signal.SIGINT)
    monkeypatch.setattr(fill, "CHUNK", 4)
    images, clip = Scenes(120), tiny_clip(tmp_path)
    resumed = filled(tmp_path / "b", images, clip)  # at once: none of them holds the lock
    assert images.reads <= 120 - 12
    assert sha256(resumed) == sha256(filled(tmp_path / "a", Scenes(120), clip))
    readers = [int(path.name.removeprefix("reads-")) for path in tmp_path.glob("reads-*")]
    assert 1 <= len(readers) <= max(1, workers)  # on a loaded machine one may not have come to read
    assert workers == 0 or process.pid not in readers
    deadline = time.monotonic() + 10
    while alive := [reader for reader in readers if Path(f"/proc/{reader}").exists()]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.02)


# --- worker processes ---


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)
    monkeypatch.setattr(fill, "CHUNK", 4)


def test_worker_processes_make_the_very_store(tmp_path: Path, clip: Clip, two_cores: None) -> None:
    chosen = clip[0], clip[1].model_copy(update={"masked": "crop", "fill": "mean", "flipped_view": True})
    alone = filled(tmp_path / "alone", Scenes(13), chosen)
    images = Scenes(13)
    beside = filled(tmp_path / "beside", images, chosen, 2)
    assert beside.name == alone.name
    assert sha256(beside) == sha256(alone)
    assert images.reads == 0  # by others
    assert active_children() == []


def test_worker_processes_go_on_where_a_fill_stopped_and_end_the_same(
    tmp_path: Path, clip: Clip, two_cores: None
) -> None:
    with pytest.raises(Interrupted):
        filled(tmp_path / "b", StoppingScenes(13), clip)
    undisturbed, resumed = filled(tmp_path / "a", Scenes(13), clip), filled(tmp_path / "b", Scenes(13), clip, 2)
    assert sha256(resumed) == sha256(undisturbed)


class DamagedScenes(Scenes):
    def sample(self, index: int) -> object:  # type: ignore[override]
        if index == 9:
            raise CorruptFileError("Broken.", file=Path("a.png"), mend="Copy it again.")
        return super().sample(index)


def test_what_is_wrong_with_an_image_arrives_whole_from_a_worker(tmp_path: Path, clip: Clip, two_cores: None) -> None:
    with pytest.raises(CorruptFileError) as caught:
        filled(tmp_path, DamagedScenes(13), clip, 2)
    assert str(caught.value) == "Broken.\nFile: a.png\nMend: Copy it again."
    (partial,) = tmp_path.glob("*.partial")
    assert zarr.open_group(partial, mode="r")["done"][:].sum() == 8  # type: ignore[index, union-attr]
    assert active_children() == []


def test_batches_of_pictures_keep_their_order_and_never_wait_for_more_than_their_size() -> None:
    images = [np.full((count, 2, 2, 3), place, np.uint8) for place, count in enumerate((3, 1, 7, 2))]
    batches = list(batched(images, 4))
    assert [len(batch) for batch in batches] == [4, 4, 4, 1]
    assert np.array_equal(np.concatenate(batches), np.concatenate(images))
    assert list(batched([], 4)) == []


def test_two_processes_do_not_fill_one_store(tmp_path: Path, clip: Clip) -> None:
    class Nested(Scenes):
        def sample(self, index: int) -> object:  # type: ignore[override]
            filled(tmp_path, Scenes(3), clip)
            return super().sample(index)

    with pytest.raises(ConcatError, match="Another process"):
        filled(tmp_path, Nested(3), clip)


def test_a_full_disk_is_one_message(tmp_path: Path, clip: Clip) -> None:
    class NoRoom(Scenes):
        def sample(self, index: int) -> object:  # type: ignore[override]
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(index))

    with pytest.raises(ConcatError, match="disk is full"):
        filled(tmp_path, NoRoom(3), clip)


def test_tokens_that_are_not_finite_stop_the_fill(tmp_path: Path) -> None:
    broken, chosen = tiny_clip(tmp_path)
    with torch.no_grad():
        broken.network.visual.proj.fill_(float("nan"))
    with pytest.raises(ConcatError, match="not finite, between images 900 and 886"):
        filled(tmp_path, Scenes(3), (broken, chosen))


def test_other_segments_than_listed_are_refused(tmp_path: Path, clip: Clip) -> None:
    class Lying(Scenes):
        def truth_segments(self, index: int) -> list[object]:  # type: ignore[override]
            return super().truth_segments(index + 1)  # type: ignore[return-value]

    with pytest.raises(CorruptFileError, match="Image 900 has other segments"):
        filled(tmp_path, Lying(3), clip)


# --- damage ---


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("harm", [Path.unlink, _cut])
@pytest.mark.parametrize("name", ["image/tokens/c/1/0", "segment/tokens/c/0/0", "image/ids/c/0", "segment/ids/c/0",
                                  "segment/offsets/c/0", "done/c/0", "zarr.json", "segment/ids/zarr.json"])  # fmt: skip
def test_damage_is_found(
    tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None], name: str
) -> None:
    monkeypatch.setattr(fill, "CHUNK", 4)
    path = filled(tmp_path, Scenes(6), clip)
    harm(path / name)
    with pytest.raises(CorruptFileError) as caught:
        open_store(path)
    assert caught.value.file == path
    assert caught.value.mend is not None
    assert "precompute makes it again" in caught.value.mend


def test_blank_tokens_are_found(tmp_path: Path, clip: Clip) -> None:
    path = filled(tmp_path, Scenes(6), clip)
    _zero(path / "segment/tokens/c/0/0")
    with pytest.raises(CorruptFileError, match="not of unit length"):
        open_store(path)


def test_a_damaged_store_is_made_again(tmp_path: Path, clip: Clip) -> None:
    path = filled(tmp_path, Scenes(6), clip)
    expected = sha256(path)
    _cut(path / "image/tokens/c/0/0")
    said: list[str] = []

    class Listening(SilentReporter):
        def say(self, text: str) -> None:
            said.append(text)

    fill_store(tmp_path, Scenes(6), *clip, Listening(), content="")
    assert sha256(path) == expected
    assert "made again" in said[0]


def test_a_missing_store(tmp_path: Path) -> None:
    with pytest.raises(ConcatError, match="not found") as caught:
        open_store(tmp_path / "images-1.zarr")
    assert caught.value.mend == "Run precompute."


def test_tokens_are_of_unit_length_in_half_precision(tmp_path: Path, clip: Clip) -> None:
    tokens = open_store(filled(tmp_path, Scenes(9), clip))
    assert tokens.images[0].dtype == tokens.segments[0].dtype == torch.float16
    lengths = np.linalg.norm(tokens.segments[0].float().numpy(), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=2e-3)
