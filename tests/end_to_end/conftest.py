"""One finished smoke run of each task, which the end-to-end tests share and copy from, and never change."""

from pathlib import Path

import pytest
from concat_command import FinishedRun, concat_here, run_concat


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """What `concat demo --recipe smoke` leaves and prints."""
    root = tmp_path_factory.mktemp("smoke")
    shown = run_concat("demo", "--recipe", "smoke", "--run", root / "run", cache=root / "cache")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    return FinishedRun(root / "run", root / "cache", shown)


@pytest.fixture(scope="session")
def semantic(smoke: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """ZSS: label maps, whose unseen pixels are ignored."""
    return _short("smoke_zss", smoke, tmp_path_factory.mktemp("semantic"))


@pytest.fixture(scope="session")
def instance(smoke: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """GZSI: things alone."""
    return _short("smoke_gzsi", smoke, tmp_path_factory.mktemp("instance"))


def _short(recipe: str, smoke: FinishedRun, root: Path) -> FinishedRun:
    """A run of twenty steps on the scenes of the smoke run."""
    short = ("--set", "con.iterations=20", "--set", "cat.iterations=20")
    shown = concat_here("run", recipe, "--run", root / "run", *short, cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    return FinishedRun(root / "run", smoke.cache, shown)
