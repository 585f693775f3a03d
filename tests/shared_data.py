"""Finds the real samples that lie beside a checkout but are not the project's to ship."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


def shared_data(name: str) -> Path:
    """The folder `name` of the shared samples; skips the test where it is absent."""
    folder = SHARED.resolve() / name
    if not folder.is_dir():
        pytest.skip(f"needs the sample data {folder}")
    return folder
