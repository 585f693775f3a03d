"""What a training step remembers for its backward pass: transformers' Mask2Former, ours, and ours with checkpoints.

python benchmarks/remembered.py                    at 512² and 1024², ResNet-50, one picture, on a CPU
python benchmarks/remembered.py --sizes 96         small and quick

Counts every byte that autograd saves, through saved-tensor hooks, each storage once and parameters left out.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention

from pipelines.recipes.load import load_recipe
from pipelines.segmentors.build import build_segmentor, checkpoint_layers
from pipelines.segmentors.deformable_attention import Pyramid, deformable_attention
from pipelines.segmentors.settings import SegmentorSettings

HEADS, WIDTH, POINTS = 8, 32, 4


def saved_bytes(run: Callable[[], Any], parameters: set[int] | None = None) -> int:
    """Bytes that a forward pass saves; torch saves the inputs of layers that are computed again, so they count."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in (parameters or set()):
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = run()  # else what is saved could be freed, and its place taken by another
    del kept
    return sum(seen.values())


def attention(size: int) -> dict[str, int]:
    """One call of deformable attention on the levels of a picture of size² pixels."""
    pyramid = Pyramid.of([(size // stride, size // stride) for stride in (32, 16, 8)], torch.device("cpu"))
    pixels = len(pyramid.centres)
    value = torch.randn(1, pixels, HEADS, WIDTH, requires_grad=True)
    offsets = torch.randn(1, pixels, HEADS, 3, POINTS, 2, requires_grad=True)
    logits = torch.randn(1, pixels, HEADS, 3 * POINTS, requires_grad=True)
    sizes = torch.tensor([[width, height] for height, width in pyramid.shapes])

    def theirs() -> Tensor:
        places = pyramid.centres[None, :, None, None, None] + offsets / sizes[:, None]
        weights = logits.softmax(-1).unflatten(-1, (3, POINTS))
        return multi_scale_deformable_attention(value, list(pyramid.shapes), places, weights)

    return {
        "transformers": saved_bytes(theirs),
        "ours": saved_bytes(lambda: deformable_attention(value, offsets, logits, pyramid)),
    }


def segmentor(settings: SegmentorSettings, size: int) -> dict[str, int]:
    """A whole forward pass in training."""
    images = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
    model = build_segmentor(settings, load_weights=False).train()
    trained = build_segmentor(settings.model_copy(update={"batch_norm": "trained"}), load_weights=False).train()

    def count(of: nn.Module, run: Callable[[], Any]) -> int:
        return saved_bytes(run, {own.untyped_storage().data_ptr() for own in of.parameters()})

    found = {
        "transformers": count(trained, lambda: trained.model(pixel_values=images, output_hidden_states=True)),
        "ours": count(model, lambda: model(images)),
    }
    checkpoint_layers(model)
    return found | {"ours, checkpointing": count(model, lambda: model(images))}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    settings = load_recipe("concat_zps").con.segmentor
    rows = []
    for size in given.sizes:
        for what, counted in (("attention", attention(size)), ("segmentor", segmentor(settings, size))):
            shares = {name: round(own / counted["transformers"], 3) for name, own in counted.items()}
            rows.append({"what": what, "size": size, "MiB": {n: round(own / 2**20, 1) for n, own in counted.items()}})
            print(f"{what} at {size}²: {rows[-1]['MiB']} MiB, shares {shares}", flush=True)
    if given.out:
        given.out.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
