"""What light commands import: nothing that takes seconds, unless they compute with it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from concat_command import FinishedRun, environment

from concat_cli.app import COMMANDS

HEAVY = ("torch", "torchvision", "transformers", "open_clip", "timm", "sklearn", "matplotlib")
COMMAND = """
import atexit, json, sys
from pathlib import Path
atexit.register(lambda: Path(sys.argv.pop()).write_text(json.dumps([m for m in {heavy} if m in sys.modules])))
from concat_cli import app
words, sys.argv = sys.argv[1:-1], ["concat", sys.argv[-1]]
app.app(words)
"""


def _imported(tmp_path: Path, cache: Path, *words: object) -> list[str]:
    """Which of the heavy libraries a command that succeeds has imported at its end."""
    told = tmp_path / "imported.json"
    command = [sys.executable, "-c", COMMAND.format(heavy=HEAVY), *map(str, words), str(told)]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment(cache), check=False)
    assert shown.returncode == 0, shown.stderr
    found: list[str] = json.loads(told.read_text())
    return found


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command: str, tmp_path: Path) -> None:
    words = [command, "--help"] if command else ["--help"]
    assert _imported(tmp_path, tmp_path, *words) == []


@pytest.mark.parametrize("command", ["status", "verify", "check-data"])
def test_looking_at_a_run_imports_nothing_heavy(command: str, smoke: FinishedRun, tmp_path: Path) -> None:
    assert _imported(tmp_path, smoke.cache, command, smoke.copy(tmp_path)) == []


def test_comparing_and_scoring_import_nothing_heavy(smoke: FinishedRun, tmp_path: Path) -> None:
    scenes = next((smoke.cache / "micrococo").glob("*/annotations"))
    truth, predictions = smoke.folder / "split/val.json", smoke.folder / "eval/inductive.json"
    score = ["score", "--truth", truth, "--predictions", predictions, "--truth-png", scenes / "panoptic_val2017"]
    assert _imported(tmp_path, smoke.cache, *score) == []
    assert _imported(tmp_path, smoke.cache, "compare", smoke.folder, "concat-zps") == []


@pytest.mark.parametrize("first", ["split-coco", "split-data"])
def test_splitting_imports_nothing_heavy(first: str, smoke: FinishedRun, tmp_path: Path) -> None:
    scenes = next((smoke.cache / "micrococo").glob("*/annotations")).parent
    given = {
        "split-coco": ["--annotations", scenes / "annotations/panoptic_val2017.json"],
        "split-data": ["own", "--labels", scenes / "stuffthingmaps/val2017"],
    }[first]
    words = [first, *given, "--run", tmp_path / "run", "--images", scenes / "val2017", "--vocabulary", "micrococo"]
    bare = ["--set", "con.segmentor.backbone_weights=none"]  # whether ImageNet's are allowed is asked of timm
    assert _imported(tmp_path, tmp_path / "cache", *words, *bare) == []


@pytest.mark.parametrize("words", [["run", "smoke"], ["train-con"], ["eval"]], ids=lambda words: words[0])
def test_a_dry_run_imports_nothing_heavy(words: list[str], smoke: FinishedRun, tmp_path: Path) -> None:
    stale = ["--set", "con.iterations=61"]
    assert _imported(tmp_path, smoke.cache, *words, "--run", smoke.copy(tmp_path), "--dry-run", *stale) == []


def test_a_dry_run_of_the_first_stage_and_of_another_data_set_imports_nothing_heavy(
    smoke: FinishedRun, tmp_path: Path
) -> None:
    scenes = next((smoke.cache / "micrococo").glob("*/annotations")).parent
    given = ["--annotations", scenes / "annotations/panoptic_val2017.json", "--images", scenes / "val2017"]
    given += ["--vocabulary", "micrococo", "--dry-run"]
    assert _imported(tmp_path, smoke.cache, "split-coco", "--run", tmp_path / "new", *given) == []
    assert _imported(tmp_path, smoke.cache, "eval", "--dataset", "own", "--run", smoke.copy(tmp_path), *given) == []
    assert not (tmp_path / "new").exists()
