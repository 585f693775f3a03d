"""A step of train-con beside transformers' own Mask2Former with its own loss, on the same pictures, in one run.

python benchmarks/gpu_step.py                                         1 to 16 images of 1024², every precision
python benchmarks/gpu_step.py --images 8 --precision bf16 --profile   where the time of ours goes
python benchmarks/gpu_step.py --recipe micrococo --images 8 --sides ours    the embedded world's step, and its rate
python benchmarks/gpu_step.py --device cpu --size 64 --images 1 2 --backbone test_resnet --steps 2

Prints seconds a step (the median), images a second and peak memory; `--out` keeps them as json.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning_fabric
import torch
from torch import nn
from torch.nn.functional import normalize

from pipelines.clip.store import ImageTokens
from pipelines.data.formats.sample import Sample
from pipelines.losses.build import build_alignments
from pipelines.models.extractor import Extractor
from pipelines.recipes.con import ConSettings
from pipelines.recipes.load import load_recipe
from pipelines.segmentors.backbone import STRIDES, build_backbone
from pipelines.segmentors.build import checkpoint_layers
from pipelines.segmentors.graphed import recorded
from pipelines.segmentors.huggingface import quiet_transformers, stand_in_backbone
from pipelines.segmentors.parameters import parameter_groups
from pipelines.stages.con_objective import ConObjective, parts_of_step
from pipelines.training.devices import make_fabric, peak_memory, reset_peak_memory
from pipelines.training.loop import make_optimiser
from pipelines.training.processes import Processes
from pipelines.training.settings import RuntimeSettings

NAMES, TEXT_DIM, SEGMENTS = 119, 512, 8
PRECISIONS = {"fp32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed"}
GIB = 2**30
Step = Callable[[], float]


def scene(number: int, size: int, random: torch.Generator) -> Sample:
    """A picture of noise with up to eight segments of 8×8 blocks."""
    owner = torch.randint(0, SEGMENTS, (8, 8), generator=random).repeat_interleave(size // 8, 0)
    owner = owner.repeat_interleave(size // 8, 1)
    masks = torch.stack([owner == segment for segment in range(SEGMENTS) if (owner == segment).any()])
    return Sample(
        image_id=number,
        image=torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=random),
        masks=masks,
        labels=torch.randint(0, NAMES, (len(masks),), generator=random),
        segment_ids=torch.arange(1, len(masks) + 1),
        ignore=torch.zeros(size, size, dtype=torch.bool),
    )


def tokens_of(samples: list[Sample]) -> ImageTokens:
    """CLS tokens at random."""
    counts = [len(sample.labels) for sample in samples]
    offsets = torch.tensor([0, *counts]).cumsum(0).tolist()
    ids = torch.cat([sample.segment_ids for sample in samples])
    rows = {sample.image_id: row for row, sample in enumerate(samples)}
    images, segments = torch.randn(len(samples), TEXT_DIM).half(), torch.randn(len(ids), TEXT_DIM).half()
    return ImageTokens(rows, (images,), ids, (segments,), offsets, Path("random"))


def ours(settings: ConSettings, samples: list[Sample], device: str, precision: str, how: str) -> Step:
    """A step of train-con, in one part."""
    fabric = make_fabric(RuntimeSettings(device=device, precision=PRECISIONS[precision]))
    text = normalize(torch.randn(NAMES, TEXT_DIM), dim=-1).to(fabric.device)
    extractor = Extractor(settings, TEXT_DIM, load_backbone=False)
    if "checkpointing" in how:
        checkpoint_layers(extractor.segmentor)
    objective = ConObjective(extractor, build_alignments(settings.alignment, text_dim=TEXT_DIM), settings, text, seed=0)
    rates = settings.optimiser
    groups = parameter_groups(
        objective,
        learning_rate=rates.learning_rate,
        backbone_factor=rates.backbone_factor,
        weight_decay=rates.weight_decay,
        decay_biases=rates.decay_biases,
    )
    optimiser, _ = make_optimiser(groups, rates, 1000)
    model, optimiser = fabric.setup(objective, optimiser)
    tokens, queries = tokens_of(samples), settings.segmentor.queries
    if "graphed" in how and fabric.device.type == "cuda":
        with fabric.autocast():
            recorded(extractor.segmentor, torch.stack([sample.image for sample in samples]).to(fabric.device))

    def step() -> float:
        parts = parts_of_step(0, samples, tokens, size=len(samples), queries=queries, processes=Processes())
        optimiser.zero_grad()
        losses = model(parts[0].on(fabric.device))
        fabric.backward(torch.stack(list(losses.values())).sum())
        values: list[float] = torch.stack(list(losses.values())).tolist()
        fabric.clip_gradients(model, optimiser, max_norm=0.01, error_if_nonfinite=False)
        optimiser.step()
        objective.end_step(parts[0].tokens)
        return sum(values)

    return step


def theirs(settings: ConSettings, samples: list[Sample], device: str, precision: str) -> Step:
    """A step of transformers' Mask2FormerForUniversalSegmentation on the same timm backbone."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    where, sizes = torch.device("cuda" if device == "auto" else device), settings.segmentor
    backbone = build_backbone(sizes.backbone, "none")
    with quiet_transformers():
        config = Mask2FormerConfig(
            backbone_config=stand_in_backbone(backbone.channels), feature_strides=list(STRIDES), num_labels=NAMES
        )
        model = Mask2FormerForUniversalSegmentation(config)
    model.model.pixel_level_module.encoder = backbone
    model = model.to(where).train()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)

    def step() -> float:
        optimiser.zero_grad()
        with torch.autocast(where.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = model(
                pixel_values=torch.stack([sample.image for sample in samples]).to(where),
                mask_labels=[sample.masks.float().to(where) for sample in samples],
                class_labels=[sample.labels.to(where) for sample in samples],
            ).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimiser.step()
        return float(loss)

    return step


def measured(make: Callable[[], Step], images: int, device: torch.device, steps: int) -> dict[str, Any]:
    """Median of `steps` steps after a few that warm up."""
    gc.collect()
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    if device.type == "cuda":
        torch.cuda.empty_cache()
    reset_peak_memory(device)
    try:
        step, times = make(), []
        for number in range(steps + max(1, steps // 3)):
            wait()
            begun = time.perf_counter()
            loss = step()
            wait()
            times.append(time.perf_counter() - begun if number >= max(1, steps // 3) else float("nan"))
    except torch.OutOfMemoryError:
        return {"out_of_memory": True}
    kept = sorted(seconds for seconds in times if seconds == seconds)
    middle = kept[len(kept) // 2]
    peak = peak_memory(device) / GIB
    row = {"seconds": round(middle, 4), "images_per_second": round(images / middle, 2), "peak_GiB": round(peak, 2)}
    return row | {"loss": round(loss, 4)}


def profiled(step: Step) -> str:
    """Where the time of a step goes."""
    from torch.profiler import ProfilerActivity, profile

    step()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        begun = time.perf_counter()
        step()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
    events = seen.key_averages()
    busy = sum(event.self_device_time_total for event in events) / 1e6
    launches = sum(event.count for event in events if "LaunchKernel" in event.key)
    table = events.table(sort_by="self_device_time_total", row_limit=28, max_name_column_width=70)
    lines = [line[:72] + line[-64:] for line in table.splitlines()]
    return "\n".join([f"device busy {busy:.3f} s of {seconds:.3f} s, {launches} launches", *lines])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--recipe", default="concat_zps")
    options.add_argument("--images", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    options.add_argument("--precision", nargs="+", choices=list(PRECISIONS), default=list(PRECISIONS))
    options.add_argument("--sides", nargs="+", default=["ours", "ours, graphed", "ours, checkpointing", "transformers"])
    options.add_argument("--size", type=int, help="side of the pictures; that of the recipe's crop unless given")
    options.add_argument("--backbone", help="another one than the recipe's")
    options.add_argument("--device", default="auto")
    options.add_argument("--steps", type=int, default=8)
    options.add_argument("--profile", action="store_true")
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    changes = [f"con.segmentor.backbone={given.backbone}"] if given.backbone else []
    settings = load_recipe(given.recipe, ("con.segmentor.backbone_weights=none", *changes)).con
    size = given.size or settings.input.crop
    device = make_fabric(RuntimeSettings(device=given.device)).device
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    rows = []
    for images in given.images:
        random = torch.Generator().manual_seed(0)
        samples = [scene(number, size, random) for number in range(images)]
        if device.type == "cuda":
            samples = [sample.pin_memory() for sample in samples]
        for precision in given.precision:
            for side in given.sides:

                def make(side: str = side, samples: list[Sample] = samples, precision: str = precision) -> Step:
                    lightning_fabric.seed_everything(0, verbose=False)
                    if side == "transformers":
                        step = theirs(settings, samples, given.device, precision)
                    else:
                        step = ours(settings, samples, given.device, precision, how=side)
                    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
                    torch.backends.cudnn.allow_tf32 = precision != "fp32"
                    return step

                row = {"side": side, "images": images, "size": size, "precision": precision}
                row |= measured(make, images, device, given.steps)
                rows.append(row)
                print(json.dumps(row), flush=True)
                if given.profile and side != "transformers":
                    print(profiled(make()), flush=True)
    if given.out:
        about = {"card": card, "torch": torch.__version__, "recipe": given.recipe, "rows": rows}
        given.out.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
