"""The size of a store of CLS tokens, told before it is made."""

import shutil
from pathlib import Path

import pytest
from tiny_clip import Scenes, tiny_clip

from pipelines.base.disk import bytes_below
from pipelines.base.errors import ConcatError
from pipelines.base.progress import SilentReporter
from pipelines.clip import fill
from pipelines.clip.fill import fill_store
from pipelines.clip.store_size import bytes_there, store_bytes

CONTAINER = 6 * 1024  # bytes


@pytest.mark.parametrize(("count", "flipped"), [(3, False), (70, False), (70, True)])
def test_a_store_is_as_large_as_was_told(count: int, flipped: bool, tmp_path: Path) -> None:
    images, (clip, settings) = Scenes(count), tiny_clip(tmp_path, flipped_view=flipped)
    path = fill_store(tmp_path / "clip", images, clip, settings, SilentReporter(), content="")
    segments = sum(index % 4 for index in range(count))
    told = store_bytes(count, segments, dim=16, views=1 + flipped)
    assert 0 <= told - bytes_below(path) < CONTAINER
    assert bytes_there(tmp_path / "clip", count, segments) == bytes_below(path)
    assert bytes_there(tmp_path / "clip", count, segments + 1) == 0
    assert bytes_there(tmp_path / "none", count, segments) == 0


def _room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def test_a_store_that_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, (clip, settings) = Scenes(40), tiny_clip(tmp_path)
    _room(monkeypatch, 1000)
    with pytest.raises(ConcatError, match=r"The store of CLIP tokens needs \d+ KiB, but 1 KiB are free") as caught:
        fill_store(tmp_path / "clip", images, clip, settings, SilentReporter(), content="")
    assert caught.value.file == tmp_path / "clip"
    assert "--cache" in str(caught.value.mend)
    assert images.reads == 0
    assert not list((tmp_path / "clip").glob("images-*"))


def test_what_an_interrupted_fill_left_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "CHUNK", 4)
    images, (clip, settings) = Scenes(20), tiny_clip(tmp_path)
    path = fill_store(tmp_path / "clip", images, clip, settings, SilentReporter(), content="")
    there = bytes_below(path)
    told = store_bytes(20, sum(index % 4 for index in range(20)), dim=16, views=1)
    path.rename(path.with_suffix(".partial"))
    _room(monkeypatch, max(told - there, 0) - 1)
    with pytest.raises(ConcatError, match="are free"):
        fill_store(tmp_path / "clip", images, clip, settings, SilentReporter(), content="")
    _room(monkeypatch, max(told - there, 0))
    reads = images.reads
    assert fill_store(tmp_path / "clip", images, clip, settings, SilentReporter(), content="") == path
    assert images.reads == reads
