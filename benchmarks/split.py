"""Splits a full-size COCO-panoptic json: ours beside three json.load, filtering and json.dump.

    python benchmarks/split.py [--out result.json] [--images 118287]

The json is made here (seeded, as large as COCO's: 118,287 images, 1.3 million segments, 165 MB). Each way runs in a
process of its own, so that peak memory is its own; all must keep the same images.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.data.formats.coco_panoptic import category_entries
from pipelines.data.splits.split import split_panoptic
from pipelines.vocabularies.vocabulary import load_vocabulary

VOCABULARY = "coco_panoptic"
IMAGES = 118_287
SEGMENTS = 11  # an image, on average
SEEN_ONLY = 0.31  # share of images drawn from seen categories alone; with lucky others 38 % are kept, as on COCO


def make_json(path: Path, images: int) -> None:
    """Writes a json with the fields, lengths and shares of COCO's panoptic_train2017.json."""
    rng = random.Random(0)
    vocabulary = load_vocabulary(VOCABULARY)
    rows = [_row(number, rng, vocabulary.seen.ids, vocabulary.unseen.ids) for number in range(1, images + 1)]
    content = {
        "info": {"description": "made for a benchmark"},
        "licenses": [],
        "images": [image for image, _ in rows],
        "annotations": [annotation for _, annotation in rows],
        "categories": category_entries(vocabulary),
    }
    path.write_text(json.dumps(content))


def _row(number: int, rng: random.Random, seen: list[int], unseen: list[int]) -> tuple[dict[str, Any], dict[str, Any]]:
    allowed = seen if rng.random() < SEEN_ONLY else seen + unseen * 3
    name, url = f"{number:012d}", "http://farm8.staticflickr.com/7187/6967031859_5f08387bde_z.jpg"
    image = {
        "license": rng.randint(1, 8),
        "file_name": f"{name}.jpg",
        "coco_url": f"http://images.cocodataset.org/train2017/{name}.jpg",
        "height": 480,
        "width": 640,
        "date_captured": "2013-11-17 22:13:44",
        "flickr_url": url,
        "id": number,
    }
    segments = [_segment(rng, allowed) for _ in range(rng.randint(2, 2 * SEGMENTS - 2))]
    return image, {"segments_info": segments, "file_name": f"{name}.png", "image_id": number}


def _segment(rng: random.Random, allowed: list[int]) -> dict[str, Any]:
    x, y, width, height = rng.randint(0, 500), rng.randint(0, 400), rng.randint(1, 140), rng.randint(1, 80)
    return {
        "id": rng.randrange(1, 2**24),
        "category_id": rng.choice(allowed),
        "iscrowd": int(rng.random() < 0.01),
        "bbox": [x, y, width, height],
        "area": rng.randint(1, width * height),
    }


def split_ours(source: Path, out: Path) -> None:
    split_panoptic(source, out, vocabulary=load_vocabulary(VOCABULARY))


def split_with_json(source: Path, out: Path) -> None:
    """Loads the json three times, for images, annotations and the rest; filters, and dumps the training list alone."""
    unseen = set(load_vocabulary(VOCABULARY).unseen.ids)
    kept = [a for a in _load(source)["annotations"] if not _holds(a, unseen)]
    kept_ids = {annotation["image_id"] for annotation in kept}
    images = [image for image in _load(source)["images"] if image["id"] in kept_ids]
    rest = _load(source)
    categories = [c for c in rest["categories"] if c["id"] not in unseen]
    _dump({**rest, "images": images, "annotations": kept, "categories": categories}, out)


def split_as_scripts_do(source: Path, out: Path) -> None:
    """Loads three copies, makes one seen, one unseen and one complete, and dumps all three, as PADing's script does."""
    unseen = set(load_vocabulary(VOCABULARY).unseen.ids)
    copies = {"seen": _load(source), "unseen": _load(source), "all": _load(source)}
    for name, wanted in (("seen", False), ("unseen", True)):
        content = copies[name]
        content["annotations"] = [a for a in content["annotations"] if _holds(a, unseen) is wanted]
        ids = {annotation["image_id"] for annotation in content["annotations"]}
        content["images"] = [image for image in content["images"] if image["id"] in ids]
    for name, content in copies.items():
        _dump(content, out if name == "seen" else out.with_suffix(f".{name}"))


def _holds(annotation: dict[str, Any], unseen: set[int]) -> bool:
    return any(segment["category_id"] in unseen for segment in annotation["segments_info"])


def _load(source: Path) -> Any:
    with open(source) as file:
        return json.load(file)


def _dump(content: dict[str, Any], out: Path) -> None:
    with open(out, "w") as file:
        json.dump(content, file)


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "concat": split_ours,
    "3 json.load, 1 json.dump": split_with_json,
    "3 json.load, 3 json.dump": split_as_scripts_do,
}


def run_one(way: str, source: Path, out: Path) -> None:
    """Runs one way in this process and prints what it took."""
    start, cpu = time.perf_counter(), time.process_time()
    WAYS[way](source, out)
    used = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - cpu, "peak_mb": _peak_mb()}
    print(json.dumps({name: round(value, 2) for name, value in used.items()}))


def _peak_mb() -> float:
    """Peak resident memory of this program (`ru_maxrss` survives exec and would tell the parent's too)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def compare(images: int) -> dict[str, Any]:
    """Makes the json, runs every way on it and checks that they keep the same images."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "panoptic.json"
        subprocess.run([sys.executable, __file__, "--make", str(source), "--images", str(images)], check=True)
        result: dict[str, Any] = {"images": images, "json_mb": round(source.stat().st_size / 1e6, 1), "ways": {}}
        kept = {}
        for way in WAYS:
            out = Path(folder) / f"{way}.json"
            command = [sys.executable, __file__, "--way", way, str(source), str(out)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
            result["ways"][way] = json.loads(done.stdout)
            kept[way] = {a["image_id"]: a["segments_info"] for a in json.loads(out.read_bytes())["annotations"]}
    ours = kept["concat"]
    if any(theirs != ours for theirs in kept.values()):
        raise SystemExit("The ways do not keep the same images.")
    for way in result["ways"].values():
        way["times_concat"] = round(way["cpu_s"] / result["ways"]["concat"]["cpu_s"], 1)
    return result | {"images_kept": len(ours)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES, help="number of images in the json")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        return make_json(options.make, options.images)
    if options.way:
        return run_one(options.way[0], Path(options.way[1]), Path(options.way[2]))
    result = compare(options.images)
    print(f"{result['json_mb']} MB, {result['images']} images, {result['images_kept']} kept")
    print(f"{'way':<26}{'seconds':>9}{'of CPU':>9}{'times':>9}{'peak MB':>9}")
    for way, used in result["ways"].items():
        figures = f"{used['wall_s']:>9.1f}{used['cpu_s']:>9.1f}{used['times_concat']:>9.1f}{used['peak_mb']:>9.0f}"
        print(f"{way:<26}{figures}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
