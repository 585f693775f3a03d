"""What is said of a machine, and of one that lacks something."""

import importlib.metadata
import os
from pathlib import Path

import pytest

from pipelines.base import machine
from pipelines.base.machine import Fact, look_around


def _states(cache: Path) -> dict[str, Fact]:
    return {fact.name: fact for fact in look_around(cache, network=False)}


def test_this_machine_can_run_the_tests(tmp_path: Path) -> None:
    facts = _states(tmp_path / "cache")
    assert "broken" not in {fact.state for fact in facts.values()}
    assert {"Python", "packages", "torch build", "cores", "memory", "disk", "cache", "font", "PNG reader"} <= set(facts)
    assert importlib.metadata.version("torch") in facts["packages"].found
    assert facts["cache"].found.endswith("to be made")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/file").write_bytes(bytes(2**20))
    assert "0.0 GiB" in _states(tmp_path / "cache")["cache"].found


def test_what_is_missing_is_named_with_a_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PACKAGES", ("torch", "no-such-package"))
    monkeypatch.setattr(machine, "font_folder", lambda: tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    facts = _states(tmp_path / "cache")
    assert facts["missing"] == Fact("missing", "broken", "no-such-package", "Install the package again: pip install .")
    assert (facts["font"].state, facts["cache"].state, facts["PNG reader"].state) == ("broken", "broken", "poor")
    assert all(fact.means for fact in facts.values() if fact.state != "good")


def test_an_offline_hub_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    network = look_around(tmp_path)[-1]
    assert (network.name, network.state, network.found) == ("network", "poor", "HF_HUB_OFFLINE is set")
