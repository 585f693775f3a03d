"""Panoptic quality beside panopticapi: from PNG files, and as `eval` computes it.

    pip install --no-deps panopticapi-lite   # the official evaluation.py; it asks for numpy 1 but runs with 2
    OMP_NUM_THREADS=1 python benchmarks/panoptic_quality.py [--out result.json] [--images 500]

Truth and predictions are made here (seeded): 640×480 px, about 10 segments. The ways take turns, round by round, in one
process and on one core each, and must agree to 1e-12. From files, reading the jsons counts. In "eval", predicted id
maps are in memory and the truth is kept as runs; making those is not counted, nor is the writing of the PNGs that
panopticapi needs. Peak memory is taken in processes of their own, for the images and for four times as many.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.base.parallel import usable_cores
from pipelines.data.formats.coco_panoptic import category_entries
from pipelines.data.formats.panoptic_png import decode_panoptic_runs, read_panoptic_png, write_panoptic_png
from pipelines.metrics.panoptic_quality import (
    CategoryCounts,
    ImageScore,
    PredictedSegment,
    TruthSegment,
    score_image,
    total,
)
from pipelines.metrics.segment_runs import runs_of
from pipelines.vocabularies.vocabulary import load_vocabulary

WIDTH, HEIGHT, SEGMENTS = 640, 480, 10
ROUNDS = 5
VOCABULARY = load_vocabulary("coco_panoptic")
CATEGORIES = {entry["id"]: entry for entry in category_entries(VOCABULARY)}

Qualities = dict[int, tuple[float, ...]]  # category → PQ, SQ, RQ as fractions
Way = Callable[[Path], tuple[float, Qualities]]  # folder → seconds, result


def make_images(folder: Path, images: int) -> None:
    """Writes truth and prediction in COCO-panoptic form: blobs, and the same blobs with other borders."""
    rng = np.random.default_rng(0)
    annotations: dict[str, list[Any]] = {"truth": [], "predicted": []}
    for number in range(images):
        heights = _fields(rng, SEGMENTS + 2, 5)
        categories = rng.choice(VOCABULARY.ids, len(heights))
        guesses = np.where(rng.random(len(heights)) < 0.8, categories, rng.choice(VOCABULARY.ids, len(heights)))
        for part, fields, labels in (
            ("truth", heights, categories),
            ("predicted", heights + 0.2 * _fields(rng, len(heights), 12), guesses),
        ):
            ids = np.append(0, rng.choice(2**24 - 1, len(heights) - 1, replace=False) + 1)[fields.argmax(0)]
            names, first, areas = np.unique(ids, return_index=True, return_counts=True)
            label_of = labels[fields.argmax(0).ravel()[first]]
            segments = [
                {"id": name, "category_id": label, "area": area, "iscrowd": 0}
                for name, label, area in zip(names.tolist(), label_of.tolist(), areas.tolist(), strict=True)
                if name
            ]
            write_panoptic_png(folder / part / f"{number}.png", ids)
            annotations[part].append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    for part, listed in annotations.items():
        _write_json(folder / f"{part}.json", listed)


def _fields(rng: np.random.Generator, count: int, cells: int) -> np.ndarray:
    """Smooth random heights, count×H×W, `cells` hills a side."""
    noise = rng.normal(size=(count, cells, cells)).astype(np.float32)
    return np.stack([np.asarray(Image.fromarray(n).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)) for n in noise])


def _write_json(path: Path, annotations: list[Any]) -> None:
    images = [
        {"id": a["image_id"], "file_name": f"{a['image_id']}.jpg", "height": HEIGHT, "width": WIDTH}
        for a in annotations
    ]
    content = {"images": images, "annotations": annotations, "categories": [*CATEGORIES.values()]}
    path.write_text(json.dumps(content))


def multiply_images(folder: Path, times: int, out: Path) -> None:
    """A data set with every image `times` times."""
    for part in ("truth", "predicted"):
        annotations = json.loads((folder / f"{part}.json").read_bytes())["annotations"]
        (out / part).mkdir(parents=True)
        more = []
        for number in range(times * len(annotations)):
            entry = annotations[number % len(annotations)]
            os.link(folder / part / entry["file_name"], out / part / f"{number}.png")
            more.append({**entry, "image_id": number, "file_name": f"{number}.png"})
        _write_json(out / f"{part}.json", more)


def by_panopticapi(folder: Path) -> tuple[float, Qualities]:
    """`pq_compute` without its pool."""
    from panopticapi.evaluation import pq_compute_single_core

    start = time.perf_counter()
    truth, predicted = (json.loads((folder / f"{part}.json").read_bytes()) for part in ("truth", "predicted"))
    pairs = list(zip(truth["annotations"], predicted["annotations"], strict=True))
    with contextlib.redirect_stdout(io.StringIO()):
        stat = pq_compute_single_core(0, pairs, folder / "truth", folder / "predicted", CATEGORIES)
    _, means = stat.pq_average(CATEGORIES, isthing=None)
    return time.perf_counter() - start, {c: (m["pq"], m["sq"], m["rq"]) for c, m in means.items()}


def from_files(folder: Path) -> tuple[float, Qualities]:
    """What `concat score` does."""
    start = time.perf_counter()
    truth, predicted = (json.loads((folder / f"{part}.json").read_bytes()) for part in ("truth", "predicted"))
    pairs = zip(truth["annotations"], predicted["annotations"], strict=True)
    counts = total(_score_files(folder, *pair) for pair in pairs)
    return time.perf_counter() - start, _qualities(counts)


def _score_files(folder: Path, truth: dict[str, Any], predicted: dict[str, Any]) -> ImageScore:
    paths = folder / "truth" / truth["file_name"], folder / "predicted" / predicted["file_name"]
    runs = [decode_panoptic_runs(path.read_bytes(), path) for path in paths]
    guesses = [PredictedSegment(s["id"], s["category_id"]) for s in predicted["segments_info"]]
    return score_image(
        runs[0], _truths(truth), runs[1], guesses, categories=CATEGORIES.keys(), image=truth["file_name"]
    )


def _truths(annotation: dict[str, Any]) -> list[TruthSegment]:
    segments = annotation["segments_info"]
    return [TruthSegment(s["id"], s["category_id"], s["area"], bool(s["iscrowd"])) for s in segments]


def _qualities(counts: Mapping[int, CategoryCounts]) -> Qualities:
    sums = {category: counts.get(category, CategoryCounts()) for category in CATEGORIES}
    return {category: (c.pq, c.sq, c.rq) for category, c in sums.items()}


def in_eval(folder: Path) -> tuple[float, Qualities]:
    """What `eval` does with one variant."""
    truth, predicted = (
        json.loads((folder / f"{part}.json").read_bytes())["annotations"] for part in ("truth", "predicted")
    )
    seconds, scores = 0.0, []
    for a, b in zip(truth, predicted, strict=True):
        runs = runs_of(read_panoptic_png(folder / "truth" / a["file_name"]))
        truths = _truths(a)
        numbers = {0: 0} | {s["id"]: number for number, s in enumerate(b["segments_info"], start=1)}
        names, places = np.unique(read_panoptic_png(folder / "predicted" / b["file_name"]), return_inverse=True)
        ids = np.array([numbers[name] for name in names.tolist()], np.int32)[places].reshape(HEIGHT, WIDTH)
        guesses = [PredictedSegment(numbers[s["id"]], s["category_id"]) for s in b["segments_info"]]
        start = time.perf_counter()
        scores.append(score_image(runs, truths, ids, guesses, categories=CATEGORIES.keys(), image=a["file_name"]))
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    counts = total(scores)
    seconds += time.perf_counter() - start
    return seconds, _qualities(counts)


PEER, FILES, EVAL = "panopticapi", "concat, from files", "concat, in eval"
WAYS: dict[str, Way] = {PEER: by_panopticapi, FILES: from_files, EVAL: in_eval}


def race(folder: Path, images: int) -> dict[str, dict[str, float]]:
    """Lets the ways take turns; median milliseconds an image, and how many times as long the peer took."""
    decode_panoptic_runs((folder / "truth/0.png").read_bytes(), folder)  # compiles, once a machine
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(ROUNDS):
        results = {}
        for name, way in WAYS.items():
            took, results[name] = way(folder)
            seconds[name].append(took)
        difference = max(_difference(results[PEER], result) for result in results.values())
        if difference > 1e-12:
            raise SystemExit(f"The ways differ by {difference}.")
        print(f"round {number + 1} of {ROUNDS}: equal within {difference:.0e}", file=sys.stderr)
    times = {
        name: statistics.median(theirs / ours for theirs, ours in zip(seconds[PEER], took, strict=True))
        for name, took in seconds.items()
    }
    milliseconds = {name: 1000 * statistics.median(took) / images for name, took in seconds.items()}
    return {name: {"ms_per_image": round(milliseconds[name], 3), "times": round(times[name], 2)} for name in WAYS}


def _difference(a: Qualities, b: Qualities) -> float:
    return max(abs(x - y) for category in CATEGORIES for x, y in zip(a[category], b[category], strict=True))


def peak_mb(way: str, folder: Path) -> float:
    """Peak resident memory of one way in a process of its own."""
    command = [sys.executable, __file__, "--peak", way, str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _print_peak(way: str, folder: Path) -> None:
    WAYS[way](folder)
    status = Path("/proc/self/status").read_text()  # `ru_maxrss` survives exec and would tell the parent's too
    print(round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1))


def compare(images: int) -> dict[str, Any]:
    """Makes the data, races the ways on it, and takes their memory."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, larger = Path(temporary) / "images", Path(temporary) / "more_images"
        make_images(folder, images)
        multiply_images(folder, 4, larger)
        listed = json.loads((folder / "truth.json").read_bytes())["annotations"]
        ways: Mapping[str, dict[str, Any]] = race(folder, images)
        for name in (PEER, FILES):
            ways[name]["peak_mb"] = {str(images): peak_mb(name, folder), str(4 * images): peak_mb(name, larger)}
    return {
        "images": images,
        "segments_per_image": round(sum(len(a["segments_info"]) for a in listed) / images, 1),
        "ways": ways,
        "machine": {"cores": usable_cores(), "system": f"{platform.system()} {platform.machine()}"},
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "pillow", "numba", "deflate", "panopticapi-lite")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500, help="number of images")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        return _print_peak(options.peak[0], Path(options.peak[1]))
    result = compare(options.images)
    print(f"{result['images']} images of {WIDTH}×{HEIGHT} px, {result['segments_per_image']} segments each")
    print(f"{'way':<22}{'ms/image':>10}{'times':>8}   peak MB")
    for name, figures in result["ways"].items():
        peaks = ", ".join(f"{peak} for {n}" for n, peak in figures.get("peak_mb", {}).items())
        print(f"{name:<22}{figures['ms_per_image']:>10.2f}{figures['times']:>8.1f}   {peaks}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
