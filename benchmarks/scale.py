"""All stages on made-up COCO panoptic sets of two sizes: peak memory and time of every stage, side by side.

python benchmarks/scale.py --work DIR                       2,000 and 20,000 images; some 20 minutes on two cores
python benchmarks/scale.py --work DIR --images 200 400      quicker

Pictures are small and few differ, ResNet-50 sees 128 px, and trainings are short: what grows with the number of images
shows, not what depends on their size.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.vocabularies.vocabulary import load_vocabulary

STAGES = ("split", "precompute", "con", "dump", "cat", "finetune", "eval")
KINDS, HEIGHT, WIDTH, VAL = 64, 48, 64, 200
SETTINGS = (
    "clip.model=micrococo", "clip.pretrained=", "clip.prompts=micrococo", "clip.batch_size=256",
    "con.iterations=20", "con.batch_size=4", "con.panels=0", "con.input.crop=128", "con.input.test_short=128",
    "con.input.test_long=128", "con.segmentor.backbone_weights=none", "con.segmentor.hidden_dim=64",
    "con.segmentor.queries=20", "con.segmentor.encoder_layers=1", "con.segmentor.decoder_layers=3",
    "con.segmentor.feedforward_dim=128", "con.segmentor.encoder_feedforward_dim=128", "con.matching.points=500",
    "cat.iterations=20", "finetune.iterations=20", "finetune.keep_every=20", "dump.batch_size=16", "eval.batch_size=8",
    "eval.panels=0", "runtime.workers=0",
)  # fmt: skip


def picture(number: int) -> tuple[bytes, bytes, list[tuple[int, int, int]]]:
    """A JPEG, its panoptic PNG of four quarters, and (segment id, quarter, area) of each."""
    random = np.random.default_rng(number)
    quarters = random.integers(40, 216, (2, 2, 3), dtype=np.uint8)
    pixels = np.kron(quarters, np.ones((HEIGHT // 2, WIDTH // 2, 1), np.uint8))
    ids = np.kron(np.arange(1, 5).reshape(2, 2), np.ones((HEIGHT // 2, WIDTH // 2), np.int64))
    panoptic = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    jpeg, png = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=85)
    Image.fromarray(panoptic).save(png, "PNG")
    return jpeg.getvalue(), png.getvalue(), [(own, own - 1, HEIGHT * WIDTH // 4) for own in range(1, 5)]


def write_set(folder: Path, images: int) -> None:
    """A data set in COCO's layout; an eleventh of its images shows an unseen category."""
    vocabulary = load_vocabulary("coco_panoptic")
    seen, unseen = vocabulary.seen.categories, vocabulary.unseen.categories
    kinds = [picture(number) for number in range(KINDS)]
    for part, count in (("train", images), ("val", VAL)):
        for below in (part, f"panoptic_{part}"):
            (folder / below).mkdir(parents=True, exist_ok=True)
        entries, annotations = [], []
        for number in range(count):
            jpeg, png, segments = kinds[number % KINDS]
            stem = f"{number:012d}"
            (folder / part / f"{stem}.jpg").write_bytes(jpeg)
            (folder / f"panoptic_{part}" / f"{stem}.png").write_bytes(png)
            entries.append({"id": number, "file_name": f"{stem}.jpg", "height": HEIGHT, "width": WIDTH})
            shown = [seen[(4 * number + quarter) % len(seen)] for _, quarter, _ in segments]
            if number % 11 == 0:
                shown[0] = unseen[number // 11 % len(unseen)]
            listed = [
                {"id": own, "category_id": category.id, "area": area, "iscrowd": 0, "bbox": [0, 0, 1, 1]}
                for (own, _, area), category in zip(segments, shown, strict=True)
            ]
            annotations.append({"image_id": number, "file_name": f"{stem}.png", "segments_info": listed})
        names = [{"id": c.id, "name": c.name, "isthing": int(c.isthing)} for c in vocabulary.categories]
        content = {"images": entries, "annotations": annotations, "categories": names}
        (folder / f"panoptic_{part}.json").write_text(json.dumps(content))


class Watch(threading.Thread):
    """The most processes and open files that a process and its children have had."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.most_processes, self.most_files, self.ended = process, 0, 0, False

    def run(self) -> None:
        while not self.ended:
            tree = self._tree()
            files = 0
            for one in tree:
                try:
                    files += len(os.listdir(f"/proc/{one}/fd"))
                except OSError:
                    continue
            self.most_processes, self.most_files = max(self.most_processes, len(tree)), max(self.most_files, files)
            time.sleep(0.2)

    def _tree(self) -> list[int]:
        parents: dict[int, int] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
        tree = [self.process]
        for one in tree:
            tree += [child for child, parent in parents.items() if parent == one]
        return tree


def run(work: Path, images: int) -> dict[str, Any]:
    """All stages on a set of so many images: what their manifests say, and what was watched."""
    data, folder, cache = work / f"coco{images}", work / f"run{images}", work / f"cache{images}"
    write_set(data, images)
    shutil.rmtree(folder, ignore_errors=True)
    listings = ("--annotations", data / "panoptic_train.json", "--val-annotations", data / "panoptic_val.json")
    pixels = ("--images", data / "train", "--val-images", data / "val")
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    first = ["split-coco", "--run", folder, *pixels, *listings, *settings, "--cache", cache]
    most = {"processes": 0, "files": 0}
    for arguments in (first, ["eval", "--run", folder, "--cache", cache]):
        process = subprocess.Popen([sys.executable, "-m", "concat_cli", *map(str, arguments)])
        watch = Watch(process.pid)
        watch.start()
        if process.wait():
            sys.exit(f"ended with {process.returncode}")
        watch.ended = True
        most = {
            "processes": max(most["processes"], watch.most_processes),
            "files": max(most["files"], watch.most_files),
        }
    stages = {}
    for stage in STAGES:
        manifest = json.loads((folder / stage / "manifest.json").read_text())
        stages[stage] = {"MiB": round(manifest["peak_memory_bytes"] / 2**20), "seconds": round(manifest["seconds"], 1)}
    return {"images": images, "stages": stages, "most": most}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, required=True, help="a folder with some GB of room")
    options.add_argument("--images", type=int, nargs="+", default=[2000, 20000])
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    runs = [run(given.work, images) for images in given.images]
    for stage in STAGES:
        cells = [f"{own['stages'][stage]['MiB']:6} MiB {own['stages'][stage]['seconds']:8} s" for own in runs]
        print(f"{stage:12}", "  ".join(cells))
    print(
        "most at once", "  ".join(f"{own['most']['processes']} processes, {own['most']['files']} files" for own in runs)
    )
    if given.out:
        given.out.write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    main()
