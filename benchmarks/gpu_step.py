"""A step of train-con beside transformers' own Mask2Former with its own loss, on the same pictures, in one run.

python benchmarks/gpu_step.py                                         1 to 16 images of 1024², every precision
python benchmarks/gpu_step.py --images 8 --precision bf16 --profile   where the time of ours goes
python benchmarks/gpu_step.py --recipe micrococo --images 8 --sides ours    the embedded world's step, and its rate
python benchmarks/gpu_step.py --device cpu --size 64 --images 1 2 --backbone test_resnet --steps 2

Prints seconds a step (the median), images a second and peak memory; `--out` keeps them as json.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning_fabric
import torch
from torch import nn

from pipelines.data.formats.sample import Sample
from pipelines.recipes.con import ConSettings
from pipelines.recipes.load import load_recipe
from pipelines.segmentors.backbone import STRIDES, build_backbone
from pipelines.segmentors.huggingface import quiet_transformers, stand_in_backbone
from pipelines.stages.made_up import MadeUpImages, made_up_text, made_up_tokens
from pipelines.stages.train_con import built_for, losses_of_parts, recording_of
from pipelines.training.devices import make_fabric
from pipelines.training.loop import Training, take_step
from pipelines.training.part_size import PartSize
from pipelines.training.processes import Processes
from pipelines.training.settings import RuntimeSettings
from pipelines.training.stopwatch import Work, measured

NAMES, TEXT_DIM, SEGMENTS = 119, 512, 8
PRECISIONS = {"fp32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed"}
GIB = 2**30
Step = Callable[[], float]


def ours(settings: ConSettings, samples: list[Sample], device: str, precision: str, how: str) -> Step:
    """A step of train-con, in one part."""
    settings = settings.model_copy(
        update={
            "batch_size": len(samples),
            "input": settings.input.model_copy(update={"crop": samples[0].image.shape[-1]}),
            "checkpointing": "checkpointing" in how,
            "cuda_graphs": "graphed" in how,
        }
    )
    fabric = make_fabric(RuntimeSettings(device=device, precision=PRECISIONS[precision]))
    built = built_for(fabric, settings, made_up_text(NAMES, TEXT_DIM).to(fabric.device), seed=0, load_backbone=False)
    size = PartSize(len(samples), fixed=True, say=print)
    recording_of(settings, built.extractor, fabric, Processes(), size)
    tokens = made_up_tokens(samples, TEXT_DIM)
    losses_of = losses_of_parts(built, settings, fabric, tokens, size, Processes())
    training = Training({}, built.model, built.optimiser, built.schedule)

    def step() -> float:
        values, _ = take_step(training, losses_of, samples, fabric, clip_norm=settings.optimiser.clip_norm)
        return sum(values.values())

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
        return float(loss.detach())

    return step


def row_of(make: Callable[[], Step], images: int, device: torch.device, steps: int) -> dict[str, Any]:
    """Seconds of a step, images a second, peak memory and the last loss."""
    losses = [0.0]

    def work() -> Work:
        step = make()
        return lambda: losses.append(step())

    found = measured(work, steps=steps, device=device)
    if found is None:
        return {"out_of_memory": True}
    return {
        "seconds": round(found.seconds, 4),
        "images_per_second": round(images / found.seconds, 2),
        "peak_GiB": round(found.peak / GIB, 2),
        "loss": round(losses[-1], 4),
    }


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
        pictures = MadeUpImages(size, size, SEGMENTS, NAMES)
        samples = [pictures.sample(number) for number in range(images)]
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
                row |= row_of(make, images, device, given.steps)
                rows.append(row)
                print(json.dumps(row), flush=True)
                if given.profile and side != "transformers":
                    print(profiled(make()), flush=True)
    if given.out:
        about = {"card": card, "torch": torch.__version__, "recipe": given.recipe, "rows": rows}
        given.out.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
