"""What a training step remembers, and the benchmarks of steps, on small pictures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def _run(tmp_path: Path, name: str, *arguments: str) -> list[dict]:
    out = tmp_path / "out.json"
    command = [sys.executable, str(BENCHMARKS / name), *arguments, "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=300, cwd=BENCHMARKS.parent)
    return json.loads(out.read_text())["rows"]


def test_a_quarter_of_the_attention_and_a_third_of_the_segmentor_are_remembered(tmp_path: Path) -> None:
    attention, segmentor = (row["MiB"] for row in _run(tmp_path, "remembered.py", "--sizes", "256"))
    assert attention["ours"] <= attention["transformers"] / 4
    assert segmentor["ours"] < segmentor["transformers"]
    assert segmentor["ours, checkpointing"] <= segmentor["transformers"] / 3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_benchmark_of_a_step_prints_both_sides(tmp_path: Path, precision: str) -> None:
    small = ("--device", "cpu", "--size", "64", "--images", "2", "--backbone", "test_resnet", "--steps", "1")
    rows = _run(tmp_path, "gpu_step.py", *small, "--precision", precision)
    of = {row["side"]: row for row in rows}
    assert set(of) == {"ours", "ours, graphed", "ours, checkpointing", "transformers"}
    assert all(row["seconds"] > 0 and row["images_per_second"] > 0 and row["peak_GiB"] > 0 for row in rows)
    assert of["ours"]["loss"] == pytest.approx(of["ours, checkpointing"]["loss"], rel=1e-4)
