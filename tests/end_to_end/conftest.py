"""One finished smoke run that the end-to-end tests share and copy from, and never change."""

import subprocess
from pathlib import Path

import pytest
from concat_command import run_concat


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    """Run directory, cache and output of `concat demo --recipe smoke`."""
    root = tmp_path_factory.mktemp("smoke")
    finished = run_concat("demo", "--recipe", "smoke", "--run", root / "run", cache=root / "cache")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return root / "run", root / "cache", finished
