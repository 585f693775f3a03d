"""Room on disks, and the refusal of what does not fit."""

import shutil
from pathlib import Path

import pytest

from pipelines.base.disk import bytes_below, check_room, free_bytes, in_words, one_disk
from pipelines.base.errors import ConcatError


def test_free_room_is_that_of_the_nearest_folder_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    usage = shutil.disk_usage(tmp_path)

    def disk_usage(path: Path) -> object:
        asked.append(path)
        return usage._replace(free=7)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert free_bytes(tmp_path / "not/there") == 7
    assert asked == [tmp_path.resolve()]
    assert one_disk(tmp_path / "not/there", tmp_path)


def test_what_does_not_fit_is_refused_with_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    check_room(tmp_path, 2**20, "It")
    check_room(tmp_path, -5, "It")
    with pytest.raises(ConcatError, match=r"It needs 3\.0 GiB, but 1\.0 MiB are free") as caught:
        check_room(tmp_path / "cache", 3 * 2**30, "It")
    assert caught.value.file == tmp_path / "cache"
    assert "--cache" in str(caught.value.mend)


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 KiB"), (1, "1 KiB"), (1024, "1 KiB"), (3 * 2**19, "1.5 MiB"), (200 * 2**20, "200 MiB"), (2**41, "2.0 TiB")],
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert in_words(size) == words


def test_bytes_of_a_file_a_folder_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_bytes(b"12345")
    assert [bytes_below(tmp_path / name) for name in ("a", "a/b/c", "none")] == [5, 5, 0]
