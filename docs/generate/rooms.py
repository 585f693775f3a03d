"""Draws docs/rooms.svg: the rooms of `pipelines` by their floors, and how often each imports which.

python docs/generate/rooms.py
"""

import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import grimp
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/rooms.svg"
CONTRACT = "Every import points to the same floor or down"
_DATA = re.compile(r"<!-- (\{.*\}) -->")


def floors() -> list[list[str]]:
    """The rooms, from the top floor down, as the import contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["name"] == CONTRACT)
    return [[room.strip() for room in layer.split("|")] for layer in layers]


def imports() -> dict[str, int]:
    """Pairs "room → room" → modules of the first that import one of the second, counted by the pair of modules."""
    graph = grimp.build_graph("pipelines")
    counts: Counter[str] = Counter()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            upper, lower = (module.split(".")[1] if "." in module else "" for module in (importer, imported))
            if upper and lower and upper != lower:
                counts[f"{upper} → {lower}"] += 1
    return dict(sorted(counts.items()))


def drawn() -> dict[str, int]:
    """The imports that the committed picture shows."""
    found = _DATA.search(PICTURE.read_text(encoding="utf-8"))
    assert found is not None
    shown: dict[str, int] = json.loads(found[1])
    return shown


def draw() -> None:
    """Writes the picture, with what it shows in a comment."""
    counts, levels = imports(), floors()
    plt.rcParams["svg.hashsalt"], plt.rcParams["svg.fonttype"] = "rooms", "none"
    figure, axes = plt.subplots(figsize=(9, 0.52 * len(levels) + 0.6))
    place = {}
    for height, rooms in enumerate(reversed(levels)):
        for number, room in enumerate(rooms):
            x = 0.0 if len(rooms) == 1 else (number - 0.5) * 1.7
            place[room] = (x, height)
            axes.text(
                x, height, room, ha="center", va="center", fontsize=11, color="#1b1b1b", zorder=3,
                bbox={"boxstyle": "round,pad=0.35", "facecolor": "#e8ecff", "edgecolor": "#5566cc"},
            )  # fmt: skip
    strongest = max(counts.values())
    for pair, count in counts.items():
        (x0, y0), (x1, y1) = (place[room] for room in pair.split(" → "))
        side = 1 if (y0 + y1) % 2 else -1
        axes.annotate(
            "", (x1 + 0.75 * side, y1), (x0 + 0.75 * side, y0), zorder=1,
            arrowprops={
                "arrowstyle": "-|>", "color": "#8890b0", "alpha": 0.25 + 0.6 * count / strongest,
                "linewidth": 0.5 + 2.5 * count / strongest,
                "connectionstyle": f"arc3,rad={-side * min(0.6, 0.12 + 0.028 * (y0 - y1))}",
            },
        )  # fmt: skip
    axes.set_xlim(-4.2, 4.2)
    axes.set_ylim(-0.7, len(levels) - 0.3)
    axes.axis("off")
    figure.savefig(PICTURE, bbox_inches="tight", transparent=True, metadata={"Date": None})
    with PICTURE.open("a", encoding="utf-8") as file:
        file.write(f"<!-- {json.dumps(counts, ensure_ascii=False)} -->\n")


if __name__ == "__main__":
    draw()
