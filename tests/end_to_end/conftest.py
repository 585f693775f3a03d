"""One finished smoke run that the end-to-end tests share and copy from, and never change."""

import pytest
from concat_command import FinishedRun, run_concat


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """What `concat demo --recipe smoke` leaves and prints."""
    root = tmp_path_factory.mktemp("smoke")
    shown = run_concat("demo", "--recipe", "smoke", "--run", root / "run", cache=root / "cache")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    return FinishedRun(root / "run", root / "cache", shown)
