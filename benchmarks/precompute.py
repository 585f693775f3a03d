"""Images to CLIP tokens: reading and masking in worker processes beside all in one process.

    python benchmarks/precompute.py [--out result.json] [--images 256] [--rounds 3] [--workers 2]

A made-up folder (seeded) of JPEGs of COCO's size, 640×480, with 8 segments each, is encoded whole by every way in turn,
then again. Two towers: the CLIP of micrococo, on the CPU, and a stand-in for a ViT-B/16 on a GPU, which takes
pictures of 224 px and sleeps as long as such a card computes (0.35 ms a picture), so that the cores are free for
reading. Rates are of the images after the first 64, so that they tell how a long run goes; until the first 64 are done
passes what starting processes costs. What the encoding process itself computes an image, in ms of a core, says how many
workers it can take from. One thread of torch: two wait for each other where others use the machine, and that would be
measured. The stores must be equal byte for byte.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor, nn

from pipelines.base.files import sha256
from pipelines.base.parallel import usable_cores
from pipelines.base.progress import SilentReporter, SilentTask
from pipelines.clip.encoder import ClipModel, load_clip
from pipelines.clip.fill import CHUNK, fill_store
from pipelines.clip.settings import ClipSettings
from pipelines.data.formats.coco_panoptic import Annotation, ImageInfo, SegmentInfo, write_panoptic
from pipelines.data.formats.labelled_images import LabelledImages
from pipelines.data.formats.panoptic_images import open_panoptic_images
from pipelines.data.formats.panoptic_png import write_panoptic_png
from pipelines.vocabularies.vocabulary import load_vocabulary

HEIGHT, WIDTH, SEGMENTS, SIDE = 480, 640, 8, 224
SECONDS_A_PICTURE = 0.35e-3


def make_images(folder: Path, count: int) -> LabelledImages:
    """Photograph-like noise (some 110 KB a JPEG), cut into eight regions with uneven edges."""
    vocabulary, random = load_vocabulary("coco_panoptic").seen, np.random.default_rng(0)
    (folder / "images").mkdir()
    (folder / "png").mkdir()
    images, annotations = [], []
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    for number in range(1, count + 1):
        coarse = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.int16)
        picture += random.integers(-24, 25, picture.shape, dtype=np.int16)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"images/{number:012d}.jpg", quality=85)
        centres = random.uniform(0, 1, (SEGMENTS, 2)) * (HEIGHT, WIDTH)
        wobble = 12 * np.sin(rows / 17 + number) + 12 * np.cos(columns / 13 + number)
        away = [np.hypot(rows - y, columns - x) + wobble * (k % 3) for k, (y, x) in enumerate(centres)]
        nearest = np.argmin(away, axis=0)
        names = 1 + random.choice(2**24 - 1, SEGMENTS, replace=False)
        write_panoptic_png(folder / f"png/{number:012d}.png", names[nearest].astype(np.int32))
        there = np.unique(nearest)
        images.append(ImageInfo(number, f"{number:012d}.jpg", HEIGHT, WIDTH))
        segments = [SegmentInfo(int(names[k]), vocabulary.ids[k], int((nearest == k).sum())) for k in there]
        annotations.append(Annotation(number, f"{number:012d}.png", segments))
    write_panoptic(folder / "panoptic.json", images=images, annotations=annotations, vocabulary=vocabulary)
    return open_panoptic_images(folder / "panoptic.json", folder / "images", folder / "png", vocabulary)


class OnOtherSilicon(nn.Module):
    """Takes the time of a card and none of the cores."""

    def encode_image(self, batch: Tensor) -> Tensor:
        time.sleep(SECONDS_A_PICTURE * len(batch))
        return batch[:, :, ::32, ::32].flatten(1)


def stand_in(micrococo: ClipModel) -> ClipModel:
    """The preprocessing of OpenAI's CLIP before a tower that only takes time."""
    preprocess = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(size=SIDE), is_train=False)
    origin = {"model": "stand-in"}
    dim = 3 * (SIDE // 32) ** 2
    return replace(micrococo, network=OnOtherSilicon(), dim=dim, preprocess=preprocess, origin=origin)


class Clock(SilentReporter):
    """Notes when images are done."""

    def __init__(self) -> None:
        self.times, self.cpu = [time.perf_counter()], [time.process_time()]

    @contextmanager
    def task(self, *_words: Any, **_more: Any) -> Iterator[SilentTask]:
        clock = self

        class Noting(SilentTask):
            def advance(self, *_n: int, **_figures: float) -> None:
                clock.times.append(time.perf_counter())
                clock.cpu.append(time.process_time())

        yield Noting()

    def rate(self) -> float:
        """Images a second, after the first group."""
        return (len(self.times) - 1 - CHUNK) / (self.times[-1] - self.times[CHUNK])

    def own_ms(self) -> float:
        """What this process computes an image, in ms of a core."""
        return 1000 * (self.cpu[-1] - self.cpu[CHUNK]) / (len(self.cpu) - 1 - CHUNK)

    def first_group(self) -> float:
        """Seconds until the first group was done."""
        return self.times[CHUNK] - self.times[0]


def compare(images: LabelledImages, workers: list[int], rounds: int) -> dict[str, Any]:
    """Fills a store by every number of workers in turn, for either tower."""
    settings = ClipSettings(model="micrococo", pretrained="")
    micrococo = load_clip(settings, "cpu")
    towers: Mapping[str, ClipModel] = {"micrococo on the CPU": micrococo, "stand-in for a GPU": stand_in(micrococo)}
    return {name: _ways(images, clip, settings, workers, rounds) for name, clip in towers.items()}


def _ways(
    images: LabelledImages, clip: ClipModel, settings: ClipSettings, workers: list[int], rounds: int
) -> dict[str, Any]:
    clocks: dict[int, list[Clock]] = {number: [] for number in workers}
    digests = set()
    for round_ in range(rounds):
        for number in workers[round_ % len(workers) :] + workers[: round_ % len(workers)]:
            with tempfile.TemporaryDirectory() as folder:
                clock = Clock()
                path = fill_store(Path(folder), images, clip, settings, clock, content="", workers=number)
                digests.add(sha256(path))
                clocks[number].append(clock)
    if len(digests) > 1:
        raise SystemExit("The stores differ.")
    rates = {number: statistics.median(clock.rate() for clock in taken) for number, taken in clocks.items()}
    return {
        f"{number} workers": {
            "images_per_second": round(rates[number], 2),
            "times_one_process": round(rates[number] / rates[workers[0]], 2),
            "all_rates": [round(clock.rate(), 2) for clock in clocks[number]],
            "own_ms_an_image": round(statistics.median(clock.own_ms() for clock in clocks[number]), 1),
            "seconds_to_64_images": round(statistics.median(clock.first_group() for clock in clocks[number]), 1),
        }
        for number in workers
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, help="number of made-up images, above 64")
    parser.add_argument("--rounds", type=int, default=3, help="times each way encodes them")
    parser.add_argument("--workers", type=int, default=2, help="up to how many worker processes")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder), options.images)
        towers = compare(images, list(range(options.workers + 1)), options.rounds)
    result = {
        "images": options.images,
        "size": [HEIGHT, WIDTH],
        "segments": SEGMENTS,
        "rounds": options.rounds,
        "cores": usable_cores(),
        "load_before_and_after": [round(load, 1), round(os.getloadavg()[0], 1)],
        "machine": platform.machine(),
        "versions": {"torch": torch.__version__, "pillow": Image.__version__},
        "towers": towers,
    }
    print(f"{'tower':<24}{'way':<12}{'images/s':>10}{'times':>8}{'s to 64':>10}{'own ms':>8}")
    for tower, ways in towers.items():
        for way, used in ways.items():
            figures = f"{used['images_per_second']:>10.1f}{used['times_one_process']:>8.2f}"
            print(f"{tower:<24}{way:<12}{figures}{used['seconds_to_64_images']:>10.1f}{used['own_ms_an_image']:>8.1f}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
