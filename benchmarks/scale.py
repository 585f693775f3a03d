"""All stages on data sets of several sizes: what grows with the number of images, and what must not.

    python benchmarks/scale.py [--sizes 2000 20000] [--out benchmarks/results/scale.json] [--keep FOLDER]

A made-up COCO-panoptic data set a size (seeded, 48×32 px; images share their pixels, a tenth hold an unseen category)
goes through concat_zps with narrow transformers, 20 steps a stage and a small CLIP; eval scores 300 images whatever the
size. Every stage is a process of its own, so that none inherits memory. Seconds and peak memory are those of its
manifest; open files and processes are the most of its process tree, looked at ten times a second, and so is the
memory that the workers had to themselves. In memory are held, by design, CLIP's tokens (train-con), the query dump
(train-cat, finetune) and the list of images: their bytes are printed beside.
"""

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from pipelines.base.files import read_json, write_json
from pipelines.base.parallel import usable_cores
from pipelines.data.formats.coco_panoptic import Annotation, ImageInfo, SegmentInfo, write_panoptic
from pipelines.data.formats.panoptic_png import write_panoptic_png
from pipelines.generators.dump_size import row_bytes
from pipelines.vocabularies.vocabulary import load_vocabulary

ROOT = Path(__file__).resolve().parents[1]
HEIGHT, WIDTH, SEGMENTS, PICTURES, VALIDATION = 32, 48, 4, 64, 300
QUERIES, HIDDEN = 20, 32
EVERY = 0.1  # seconds between two looks at a process tree
MIB = 2**20
FOLDERS = {
    "split-coco": "split",
    "precompute": "precompute",
    "train-con": "con",
    "dump-queries": "dump",
    "train-cat": "cat",
    "finetune": "finetune",
    "eval": "eval",
}
CLIP = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
RECIPE = """
extends = "concat_zps"
name = "scale"

[clip]
model = "{clip}"
pretrained = "random"
prompts = "single"
batch_size = 256

[con]
iterations = 20
batch_size = 8
panels = 0

[con.segmentor]
backbone_weights = "none"
hidden_dim = {hidden}
feedforward_dim = 64
encoder_feedforward_dim = 64
queries = {queries}
encoder_layers = 1
decoder_layers = 2
heads = 4

[con.input]
crop = 128
test_short = 128
test_long = 128

[con.matching]
points = 1024

[dump]
batch_size = 32

[cat]
iterations = 20

[finetune]
iterations = 20
keep_every = 10

[eval]
batch_size = 16

[runtime]
threads = 1
workers = 2
"""


# --- data ---


def make_images(root: Path, split: str, count: int) -> None:
    """A split in COCO's layout; its images repeat a few pictures."""
    random = np.random.default_rng(0)
    pictures = [_picture(random) for _ in range(PICTURES)]
    vocabulary = load_vocabulary("coco_panoptic")
    folders = root / split, root / f"annotations/panoptic_{split}"
    for folder in folders:
        folder.mkdir(parents=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        jpeg, png, areas = pictures[number % PICTURES]
        name = f"{number:012d}"
        (folders[0] / f"{name}.jpg").write_bytes(jpeg)
        (folders[1] / f"{name}.png").write_bytes(png)
        ids = random.choice(vocabulary.seen.ids, len(areas), replace=False).tolist()
        if number % 10 == 0:
            ids[0] = int(random.choice(vocabulary.unseen.ids))
        segments = [SegmentInfo(1 + k, ids[k], area) for k, area in enumerate(areas)]
        images.append(ImageInfo(number, f"{name}.jpg", HEIGHT, WIDTH))
        annotations.append(Annotation(number, f"{name}.png", segments))
    listing = root / f"annotations/panoptic_{split}.json"
    write_panoptic(listing, images=images, annotations=annotations, vocabulary=vocabulary)


def _picture(random: np.random.Generator) -> tuple[bytes, bytes, list[int]]:
    """A JPEG, its panoptic PNG with the segments 1, 2, …, and their areas."""
    upright, lying = random.integers(12, WIDTH - 12), random.integers(10, HEIGHT - 10)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ids = (1 + (columns > upright) + 2 * (rows > lying)).astype(np.int32)
    colours = random.integers(0, 256, (SEGMENTS, 3))
    pixels = (colours[ids - 1] + random.integers(-20, 21, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG")
    with tempfile.TemporaryDirectory() as folder:
        write_panoptic_png(Path(folder) / "ids.png", ids)
        png = (Path(folder) / "ids.png").read_bytes()
    return jpeg.getvalue(), png, np.bincount(ids.flatten())[1:].tolist()


# --- watching ---


@dataclass
class Watched:
    """The most that a process and its descendants had at one time.

    Attributes:
        files: open in all, and `files_of_one` in one of them, which a limit holds for (`ulimit -n`).
        workers: bytes, without the first process.
    """

    files: int = 0
    files_of_one: int = 0
    processes: int = 0
    workers: int = 0

    def look(self, first: int) -> None:
        """Looks once."""
        tree = _tree(first)
        self.processes = max(self.processes, len(tree))
        files = [_open_files(pid) for pid in tree]
        self.files, self.files_of_one = max(self.files, sum(files)), max(self.files_of_one, *files)
        self.workers = max(self.workers, sum(_own_memory(pid) for pid in tree if pid != first))


@contextmanager
def watching(pid: int) -> Iterator[Watched]:
    """Looks at a process tree again and again."""
    watched, over = Watched(), threading.Event()

    def look() -> None:
        while not over.wait(EVERY):
            watched.look(pid)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watched
    finally:
        over.set()
        thread.join()


def _tree(first: int) -> list[int]:
    """The process and all its descendants; Linux alone tells."""
    tree = [first]
    for pid in tree:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                tree += map(int, children.read_text().split())
    return tree


def _open_files(pid: int) -> int:
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def _own_memory(pid: int) -> int:
    """Resident bytes that no file lies behind."""
    with suppress(OSError, ValueError, IndexError):
        _, resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[:3]
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return 0


# --- running ---


def run_all(root: Path, images: int) -> dict[str, Any]:
    """All stages on so many images."""
    begun = time.monotonic()
    make_images(root / "data", "train2017", images)
    make_images(root / "data", "val2017", VALIDATION)
    (root / "clip.json").write_text(json.dumps(CLIP))
    recipe = root / "scale.toml"
    recipe.write_text(RECIPE.format(clip=root / "clip.json", queries=QUERIES, hidden=HIDDEN))
    print(f"{images} images made in {time.monotonic() - begun:.0f} s", flush=True)
    source = ["--images", root / "data/train2017", "--annotations", root / "data/annotations/panoptic_train2017.json"]
    stages = {}
    for stage in FOLDERS:
        stages[stage] = run_stage(root, stage, ["--recipe", recipe, *source] if stage == "split-coco" else [])
        print(f"{images} images, {stage}: {stages[stage]}", flush=True)
    kept = read_json(root / "run/split/manifest.json")["notes"]["images_kept"]
    held = {
        "images_kept": kept,
        "annotations": (root / "run/split/train.json").stat().st_size,
        "tokens": kept * (1 + SEGMENTS) * int(CLIP["embed_dim"]) * 2,  # type: ignore[call-overload]
        "dump": kept * row_bytes(QUERIES, HIDDEN),
    }
    return {"stages": stages, "held": held}


def run_stage(root: Path, stage: str, more: list[Any]) -> dict[str, Any]:
    """One stage in a process of its own, and what it took."""
    command = [sys.executable, "-m", "concat_cli", stage, "--run", root / "run", "--cache", root / "cache", *more]
    with open(root / f"{stage}.log", "wb") as log:
        process = subprocess.Popen([str(part) for part in command], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        with watching(process.pid) as watched:
            code = process.wait()
    if code:
        raise SystemExit(f"{stage} ended with {code}:\n{(root / f'{stage}.log').read_text()}")
    manifest = read_json(root / "run" / FOLDERS[stage] / "manifest.json")
    return {
        "seconds": round(manifest["seconds"], 1),
        "peak_memory_bytes": manifest["peak_memory_bytes"],
        "workers_memory_bytes": watched.workers,
        "open_files": watched.files,
        "open_files_of_one_process": watched.files_of_one,
        "processes": watched.processes,
    }


def table(sizes: dict[str, dict[str, Any]]) -> str:
    """Both sizes side by side: seconds, MiB of the first process and of its workers, open files, processes."""
    columns = {
        "s": ("seconds", 1),
        "MiB": ("peak_memory_bytes", MIB),
        "workers' MiB": ("workers_memory_bytes", MIB),
        "files": ("open_files", 1),
        "of one": ("open_files_of_one_process", 1),
        "processes": ("processes", 1),
    }
    head = ["stage", *(f"{title}, {size}" for title in columns for size in sizes)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for stage in FOLDERS:
        values = [sizes[size]["stages"][stage][key] / unit for key, unit in columns.values() for size in sizes]
        lines.append(f"| {' | '.join([stage, *(f'{value:.0f}' for value in values)])} |")
    for size, taken in sizes.items():
        held = {name: f"{taken['held'][name] / MIB:.1f}" for name in ("annotations", "tokens", "dump")}
        lines.append(f"\nheld with {size} images, MiB: {', '.join(f'{k} {v}' for k, v in held.items())}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 20000], help="numbers of training images")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/scale.json", help="the result as JSON")
    parser.add_argument("--keep", type=Path, help="a folder to keep data and runs in, for a look")
    options = parser.parse_args()
    load, sizes = os.getloadavg()[0], {}
    for images in options.sizes:
        with tempfile.TemporaryDirectory() as temporary:
            root = (options.keep or Path(temporary)) / str(images)
            sizes[str(images)] = run_all(root, images)
        result = {
            "sizes": sizes,
            "picture": [HEIGHT, WIDTH],
            "segments": SEGMENTS,
            "validation_images": VALIDATION,
            "cores": usable_cores(),
            "load_before_and_after": [round(load, 1), round(os.getloadavg()[0], 1)],
            "machine": platform.machine(),
            "versions": {"torch": torch.__version__, "pillow": Image.__version__},
        }
        write_json(options.out, result)
    print(table(sizes))


if __name__ == "__main__":
    main()
