"""Panoptic post-processing of 100 queries to 480×640: ours beside transformers' Mask2Former and MaskFormer.

    python benchmarks/postprocessing.py [--out result.json] [--scenes 25] [--rounds 5]

All get the same class and mask logits of made-up scenes (seeded; bands of stuff with things on them), of which 8 to 20
queries are kept, and fuse the same stuff. One thread; every way in turn on a scene, then the next scene. Ours must
equal the original rule, written out plainly below, in every pixel.
"""

import argparse
import json
import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # before torch is imported

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn.functional import interpolate
from transformers.models.mask2former.image_processing_mask2former import Mask2FormerImageProcessor
from transformers.models.mask2former.modeling_mask2former import Mask2FormerForUniversalSegmentationOutput
from transformers.models.maskformer.image_processing_maskformer import MaskFormerImageProcessor

from pipelines.inference.panoptic import panoptic

QUERIES, THINGS, STUFF = 100, 80, 53
SIZE, MASK_SIZE = (480, 640), (200, 267)  # px; a stride of 4 at Mask2Former's test size, 800×1067
SCORE, MASK, OVERLAP = 0.5, 0.5, 0.8
ISTHING = torch.arange(THINGS + STUFF) < THINGS

Segments = list[tuple[int, int]]  # id and label
Prediction = tuple[Tensor, Segments]


@dataclass(frozen=True)
class Scene:
    """What a segmentor says of one image: class logits K×(N+1), the last for no object, and mask logits K×h×w."""

    class_logits: Tensor
    mask_logits: Tensor


def make_scene(seed: int) -> Scene:
    """Bands of stuff, each in two queries as segmentors often have it, things on them, and queries without object."""
    random = torch.Generator().manual_seed(seed)
    kept = int(torch.randint(8, 21, (1,), generator=random))
    bands = kept // 4
    stuff = THINGS + torch.randperm(STUFF, generator=random)[:bands].repeat_interleave(2)
    things = torch.randint(0, THINGS, (QUERIES - 2 * bands,), generator=random)
    labels = torch.cat([stuff, things])  # the first `kept` are objects

    y, x = torch.rand(2, QUERIES, generator=random)
    height, width = 0.03 + 0.1 * torch.rand(2, QUERIES, generator=random)
    height[: 2 * bands], y[: 2 * bands] = 0.5 / bands, (torch.arange(bands).repeat_interleave(2) + 0.5) / bands
    cuts = 0.2 + 0.6 * torch.rand(bands, generator=random)
    x[: 2 * bands] = torch.stack([cuts / 2, (1 + cuts) / 2], dim=1).flatten()
    width[: 2 * bands] = torch.stack([cuts / 2, (1 - cuts) / 2], dim=1).flatten()
    rows, columns = torch.meshgrid(*(torch.linspace(0, 1, side) for side in MASK_SIZE), indexing="ij")
    away = torch.stack(
        [
            (rows - y[:, None, None]).abs() - height[:, None, None],
            (columns - x[:, None, None]).abs() - width[:, None, None],
        ]
    )  # 2×K×h×w, beyond the edges, in parts of the picture
    distance = away.max(dim=0).values
    mask_logits = (-600 * distance).clamp(-8, 8) + 0.3 * torch.randn(distance.shape, generator=random)

    class_logits = torch.randn(QUERIES, THINGS + STUFF + 1, generator=random)
    sure = torch.where(labels < THINGS, 8.5, 7.0) + 2 * torch.rand(QUERIES, generator=random)  # things are surer
    class_logits[torch.arange(kept), labels[:kept]] = sure[:kept]
    class_logits[kept:, -1] += 12
    shuffled = torch.randperm(QUERIES, generator=random)
    return Scene(class_logits[shuffled], mask_logits[shuffled])


def ours(scene: Scene) -> Prediction:
    scores = scene.class_logits.softmax(dim=-1)[:, :-1]
    thresholds = {"score_threshold": SCORE, "mask_threshold": MASK, "overlap_threshold": OVERLAP}
    prediction = panoptic(scores, scene.mask_logits, SIZE, ISTHING, **thresholds)
    return torch.from_numpy(prediction.ids), [(segment.id, segment.label) for segment in prediction.segments]


def theirs(processor: Any) -> Callable[[Scene], Prediction]:
    stuff = set(range(THINGS, THINGS + STUFF))

    def run(scene: Scene) -> Prediction:
        outputs = Mask2FormerForUniversalSegmentationOutput(
            class_queries_logits=scene.class_logits[None], masks_queries_logits=scene.mask_logits[None]
        )
        result = processor.post_process_panoptic_segmentation(
            outputs,
            threshold=SCORE,
            mask_threshold=MASK,
            overlap_mask_area_threshold=OVERLAP,
            label_ids_to_fuse=stuff,
            target_sizes=[SIZE],
        )[0]
        return result["segmentation"], [(segment["id"], segment["label_id"]) for segment in result["segments_info"]]

    return run


def original(scene: Scene) -> Prediction:
    """Mask2Former's `panoptic_inference`, query by query."""
    scores, labels = scene.class_logits.softmax(dim=-1).max(dim=-1)
    kept = (labels != THINGS + STUFF) & (scores > SCORE)
    masks = interpolate(scene.mask_logits[None], size=SIZE, mode="bilinear", align_corners=False)[0, kept].sigmoid()
    winner = (scores[kept][:, None, None] * masks).argmax(dim=0)
    ids, segments, stuff_ids = torch.zeros(SIZE, dtype=torch.int32), [], {}
    for query, label in enumerate(labels[kept].tolist()):
        own, mask = winner == query, masks[query] >= MASK
        if not (own & mask).any() or own.sum() / mask.sum() < OVERLAP:
            continue
        if label in stuff_ids:
            ids[own & mask] = stuff_ids[label]
            continue
        segments.append((len(segments) + 1, label))
        ids[own & mask] = len(segments)
        if not ISTHING[label]:
            stuff_ids[label] = len(segments)
    return ids, segments


WAYS: dict[str, Callable[[Scene], Prediction]] = {
    "concat": ours,
    "transformers Mask2Former": theirs(Mask2FormerImageProcessor()),
    "transformers MaskFormer": theirs(MaskFormerImageProcessor()),
}


def ids_shared(prediction: Prediction) -> bool:
    """Whether two segments, other than parts of one stuff, have one id."""
    labels_of: dict[int, set[int]] = {}
    things = [segment for segment, label in prediction[1] if ISTHING[label]]
    for segment, label in prediction[1]:
        labels_of.setdefault(segment, set()).add(label)
    return any(len(labels) > 1 for labels in labels_of.values()) or len(things) > len(set(things))


def same_picture(one: Prediction, other: Prediction) -> bool:
    """Whether two predictions have the same segments, whatever their numbers."""
    pairs = {tuple(pair) for pair in torch.stack([one[0].flatten(), other[0].flatten()]).unique(dim=1).T.tolist()}
    labels = [{0: -1, **dict(prediction[1])} for prediction in (one, other)]
    one_to_one = len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    return one_to_one and all(labels[0][a] == labels[1][b] for a, b in pairs)


def compare(scenes: int, rounds: int) -> dict[str, Any]:
    """Runs every way on every scene, in an order that changes, and checks ours against the original rule."""
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    shared, differing, kept = dict.fromkeys(WAYS, 0), dict.fromkeys(WAYS, 0), []
    names = list(WAYS)
    for seed in range(scenes):
        scene = make_scene(seed)
        scores, labels = scene.class_logits.softmax(dim=-1).max(dim=-1)
        kept.append(int(((labels < THINGS + STUFF) & (scores > SCORE)).sum()))
        expected = original(scene)
        for way, run in WAYS.items():
            prediction = run(scene)  # also warms up
            shared[way] += ids_shared(prediction)
            differing[way] += not same_picture(prediction, expected)
        for round_ in range(rounds):
            for way in names[round_ % len(names) :] + names[: round_ % len(names)]:
                start = time.perf_counter()
                WAYS[way](scene)
                times[way].append(time.perf_counter() - start)
    if shared["concat"] or differing["concat"]:
        raise SystemExit("Ours shares ids or departs from the original rule.")
    medians = {way: 1000 * statistics.median(taken) for way, taken in times.items()}
    return {
        "scenes": scenes,
        "rounds": rounds,
        "kept_queries": [min(kept), max(kept)],
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "ways": {
            way: {
                "median_ms": round(medians[way], 1),
                "times_concat": round(medians[way] / medians["concat"], 1),
                "scenes_with_shared_ids": shared[way],
                "scenes_unlike_the_original_rule": differing[way],
            }
            for way in WAYS
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=25, help="number of made-up scenes")
    parser.add_argument("--rounds", type=int, default=5, help="times each way runs on a scene")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    result = compare(options.scenes, options.rounds)
    low, high = result["kept_queries"]
    print(f"{result['scenes']} scenes, {low} to {high} queries kept")
    print(f"{'way':<26}{'ms':>8}{'times':>8}{'shared ids':>12}{'unlike the rule':>17}")
    for way, used in result["ways"].items():
        figures = f"{used['median_ms']:>8.1f}{used['times_concat']:>8.1f}"
        print(f"{way:<26}{figures}{used['scenes_with_shared_ids']:>12}{used['scenes_unlike_the_original_rule']:>17}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
