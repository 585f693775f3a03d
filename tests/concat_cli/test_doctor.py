"""doctor: a line a fact, json on demand, and an exit code that says whether runs can work."""

import json
from pathlib import Path

import pytest
from concat_command import concat_here

from pipelines.base import machine


def test_every_fact_is_shown_and_nothing_here_is_broken(tmp_path: Path) -> None:
    shown = concat_here("doctor", "--offline", cache=tmp_path)
    assert shown.returncode == 0, shown.stdout
    for name in ("Python", "torch build", "cores", "cache"):
        assert f" {name} " in shown.stdout
    facts = json.loads(concat_here("doctor", "--offline", "--json", cache=tmp_path).stdout)
    assert {fact["name"] for fact in facts} >= {"packages", "disk", "font"}


def test_what_is_broken_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "font_folder", lambda: tmp_path)
    shown = concat_here("doctor", "--offline", cache=tmp_path)
    assert shown.returncode == 1
    assert "Overlays need it" in shown.stdout
