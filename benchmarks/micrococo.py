"""Collects runs of several seeds: one json a seed in benchmarks/results/, and the README's tables.

python benchmarks/micrococo.py RUN [RUN …]                  `concat demo` runs
python benchmarks/micrococo.py --name taught RUN [RUN …]    inductive ones (finetune.unseen=false), taught afterwards
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
STAGES = ("data", "split", "precompute", "con", "dump", "cat", "finetune", "eval")
GROUPS = ("harmonic", "seen", "unseen", "things", "stuff", "all")


def collect(run: Path) -> dict[str, Any]:
    """Metrics, settings and times of one run, from its manifests."""
    manifests = {folder: json.loads((run / folder / "manifest.json").read_text()) for folder in STAGES}
    last = manifests["eval"]
    return {
        "seed": last["seed"],
        "metrics": json.loads((run / "eval" / "metrics.json").read_text()),
        "settings": {folder: manifest["settings"] for folder, manifest in manifests.items()},
        "seconds": {folder: manifest["seconds"] for folder, manifest in manifests.items()},
        "peak_memory_bytes": max(manifest["peak_memory_bytes"] for manifest in manifests.values()),
        "threads": last["threads"],
        "versions": last["versions"],
        "git_commit": last["git_commit"],
        "ended": last["ended"],
    }


def row(title: str, scores: list[dict[str, Any]]) -> str:
    """One line of a table: mean ± deviation of each group's PQ over the runs."""
    cells = []
    for group in GROUPS:
        values = [score["panoptic"][group]["pq"] for score in scores]
        deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.1f}{deviation}")
    return f"| {title} | {' | '.join(cells)} |"


def tables(runs: list[dict[str, Any]]) -> str:
    """The README's table of settings, increments and iterates."""
    metrics = [run["metrics"] for run in runs]
    lines = [f"| PQ, % | {' | '.join(GROUPS)} |", f"|---|{'---|' * len(GROUPS)}"]
    lines += [
        row(f"inductive, increment {x}", [m["inductive_sweep"][x] for m in metrics])
        for x in metrics[0]["inductive_sweep"]
    ]
    lines.append(row("**transductive** (last iterate)", [m["transductive"] for m in metrics]))
    lines.append(row("transductive, best on the test set", [m["transductive_best"] for m in metrics]))
    lines += [
        row(f"finetuning, step {step}", [m["finetune_path"][step] for m in metrics])
        for step in metrics[0]["finetune_path"]
    ]
    minutes = [sum(run["seconds"].values()) / 60 for run in runs]
    return "\n".join([*lines, "", f"minutes: {', '.join(f'{m:.1f}' for m in minutes)}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--name", default="micrococo", help="what the files in results/ begin with")
    given = parser.parse_args()
    runs = [collect(path) for path in given.runs]
    RESULTS.mkdir(exist_ok=True)
    for run in runs:
        (RESULTS / f"{given.name}_seed{run['seed']}.json").write_text(json.dumps(run, indent=1) + "\n")
    print(tables(runs))


if __name__ == "__main__":
    main()
