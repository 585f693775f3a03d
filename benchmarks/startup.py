"""How long commands make one wait before they do anything, as ratios to importing the libraries that they stand on.

    python benchmarks/startup.py [--run RUN] [--rounds 15] [--out FILE]

Every command is run in a process of its own, all of them in turn, round after round; of each the least time counts,
since whatever else the machine does only adds to it. Without RUN, the recipe `smoke` is run first (about a minute).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

LIGHT = [sys.executable, "-c", "import pydantic, typer, rich"]
HEAVY = [sys.executable, "-c", "import torch, open_clip"]
CONCAT = str(Path(sys.executable).with_name("concat"))
COMPUTES = """
import os, sys
from pipelines.predict import segmenter
segmenter.Segmenter._predicted = lambda *_: os._exit(0)
from concat_cli.app import main
sys.argv = ["concat", *sys.argv[1:]]
main()
"""
"""`predict` up to the moment at which the extractor would see the picture."""


def commands(run: Path) -> dict[str, Sequence[str]]:
    """What is timed against the light libraries."""
    truth, predictions = run / "split/val.json", run / "eval/inductive.json"
    scenes = Path(json.loads((run / "data/manifest.json").read_text())["outputs"]["annotations"]["path"])
    score = ["score", "--truth", str(truth), "--predictions", str(predictions)]
    return {
        "--help": ["--help"],
        "train-con --help": ["train-con", "--help"],
        "status": ["status", str(run)],
        "verify": ["verify", str(run)],
        "compare": ["compare", "concat-zps", "pading-zps"],
        "score": [*score, "--truth-png", str(scenes / "panoptic_val2017"), "--workers", "1"],
        "split-coco --help": ["split-coco", "--help"],
        "check-data --help": ["check-data", "--help"],
    }


def least_times(timed: Mapping[str, Sequence[str]], rounds: int) -> dict[str, float]:
    """Seconds of each command, the least of all rounds."""
    least = dict.fromkeys(timed, float("inf"))
    for _ in range(rounds):
        for name, command in timed.items():
            start = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            least[name] = min(least[name], time.perf_counter() - start)
    return least


def main() -> None:
    """Prints the ratios, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/startup.json")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        run = asked.run or folder / "smoke"
        if asked.run is None:
            subprocess.run([CONCAT, "run", "smoke", "--run", str(run), "--cache", str(folder / "cache")], check=True)
        light = {name: [CONCAT, *words] for name, words in commands(run).items()}
        Image.fromarray(np.zeros((96, 96, 3), np.uint8)).save(folder / "small.png")
        words = ["predict", str(folder / "small.png"), "--run", str(run), "--out", str(folder / "out")]
        heavy = {"predict, until it computes": [sys.executable, "-c", COMPUTES, *words]}
        seconds = least_times({"light": LIGHT, **light}, asked.rounds)
        seconds |= least_times({"heavy": HEAVY, **heavy}, max(3, asked.rounds // 3))
    ratios = {name: seconds[name] / seconds["light"] for name in light}
    ratios |= {name: seconds[name] / seconds["heavy"] for name in heavy}
    print(f"{'':28}  seconds  times")
    for name in seconds:
        against = "" if name not in ratios else f"{ratios[name]:6.2f}"
        print(f"{name:28}  {seconds[name]:7.3f}  {against}")
    asked.out.write_text(json.dumps({"seconds": seconds, "ratios": ratios, "rounds": asked.rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
