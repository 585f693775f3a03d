"""Listings: what counts is name, size and time of every file below; a folder is looked at once."""

import os
from pathlib import Path

import pytest

from pipelines.base import listings
from pipelines.base.listings import Listings


def _make(root: Path) -> Path:
    (root / "a/deep").mkdir(parents=True)
    (root / "b.txt").write_text("12")
    (root / "a/c.txt").write_text("345")
    (root / "a/deep/d.txt").write_text("6789")
    return root


def test_every_change_of_name_size_time_or_place_is_told(tmp_path: Path) -> None:
    root = _make(tmp_path / "x")
    before = Listings().fingerprint(root)
    assert Listings().fingerprint(root) == before
    assert Listings().size(root) == 9
    assert Listings().size(root / "b.txt") == 2
    told = {before}
    os.utime(root / "b.txt", ns=(1, 1))
    told.add(Listings().fingerprint(root))
    (root / "a/c.txt").rename(root / "c.txt")
    told.add(Listings().fingerprint(root))
    (root / "a/deep/d.txt").unlink()
    told.add(Listings().fingerprint(root))
    assert len(told) == 4


def test_a_folder_is_scanned_once_for_all_that_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, scanned = _make(tmp_path / "x"), []
    scan = listings._scanned
    monkeypatch.setattr(listings, "_scanned", lambda folder: scanned.append(folder) or scan(folder))
    shared = Listings()
    assert shared.fingerprint(root / "a") == Listings().fingerprint(root / "a")
    scanned.clear()
    shared.size(root)
    assert scanned == [str(root)]
