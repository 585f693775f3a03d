"""One finished smoke run that the end-to-end tests share and copy from, and never change."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Concat = Callable[..., subprocess.CompletedProcess[str]]


def run_concat(*arguments: object, cache: Path, timeout: float = 300, **environment: str
               ) -> subprocess.CompletedProcess[str]:
    """The console script in a process of its own, on two threads."""
    environ = {**os.environ, "CONCAT_CACHE": str(cache), "COLUMNS": "200", "PYTHONWARNINGS": "", **environment}
    command = [str(Path(sys.executable).with_name("concat")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environ, check=False)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    """Run directory, cache and output of `concat demo --recipe smoke`."""
    root = tmp_path_factory.mktemp("smoke")
    finished = run_concat("demo", "--recipe", "smoke", "--run", root / "run", cache=root / "cache")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return root / "run", root / "cache", finished
