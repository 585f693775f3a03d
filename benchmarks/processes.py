"""The same 20 steps of train-con by 1, 2 and 4 processes on this machine's CPU: losses side by side.

python benchmarks/processes.py --work DIR

Prints the largest relative difference from one process, and seconds a step: those that share cores are no faster.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

SETTINGS = (
    "con.segmentor.batch_norm=frozen", "con.optimiser.learning_rate=1e-4", "con.optimiser.schedule=steps",
    "con.optimiser.clip_norm=0.01", "con.iterations=20", "con.log_every=1", "con.checkpoint_every=50", "con.panels=0",
    "runtime.threads=1",
)  # fmt: skip
LOSSES = ("class", "mask", "dice", "cga", "cia", "gradient_norm")


def steps(run: Path) -> list[dict[str, float]]:
    """The logged lines of a training."""
    return [json.loads(line) for line in (run / "con/metrics.jsonl").read_text().splitlines()]


def concat(*arguments: object) -> None:
    """One command."""
    subprocess.run([sys.executable, "-m", "concat_cli", *map(str, arguments)], check=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    rows, first = [], None
    for count in given.processes:
        run = given.work / f"by{count}"
        target = ("run", "smoke", "--run", run, "--set", "con.iterations=1", "--cache", given.work / "cache")
        concat(*target, "--set", "cat.iterations=1", "--set", "finetune.iterations=1", "--set", "eval.panels=0")
        concat("train-con", "--run", run, *settings, "--devices", count)
        lines = steps(run)
        first = first or lines
        apart = max(
            abs(own[name] - other[name]) / abs(other[name])
            for own, other in zip(lines, first, strict=True)
            for name in LOSSES
        )
        seconds = sorted(line["seconds_per_step"] for line in lines)[len(lines) // 2]
        rows.append({"processes": count, "steps": len(lines), "apart": apart, "seconds_per_step": round(seconds, 3)})
        print(rows[-1], flush=True)
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
