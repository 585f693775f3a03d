"""Deformable attention of Mask2Former's pixel decoder: the plain form, torch.compile of it, and the Triton kernel.

python benchmarks/deformable_attention.py                 forward and backward at 8 images of 1024², on a card
python benchmarks/deformable_attention.py --shapes-of 256 --images 1 --device cpu     the forms that a CPU has
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pipelines.segmentors import deformable_kernel
from pipelines.segmentors.deformable_attention import Pyramid, deformable_attention, plain_attention

HEADS, WIDTH, POINTS = 8, 32, 4
Form = Callable[[Tensor, Tensor, Tensor], Tensor]


def median_ms(form: Form, inputs: list[Tensor], *, backward: bool, times: int = 10) -> float:
    """Milliseconds of a call, or of the backward pass after one."""
    device = inputs[0].device

    def wait() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    taken = []
    for _ in range(times):
        begun = wait()
        attended = form(*inputs)
        if backward:
            begun = wait()
            torch.autograd.grad(attended, inputs, torch.ones_like(attended))
        taken.append(wait() - begun)
    return sorted(taken[2:])[len(taken[2:]) // 2] * 1e3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, default=8)
    options.add_argument("--shapes-of", type=int, default=1024, help="side of the pictures")
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--dtype", nargs="+", default=["bfloat16", "float32"])
    options.add_argument("--sweep", action="store_true", help="sizes of the kernel's programs")
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    device = torch.device(given.device)
    pyramid = Pyramid.of([(given.shapes_of // s, given.shapes_of // s) for s in (32, 16, 8)], device)
    pixels = len(pyramid.centres)
    forms: dict[str, Form] = {"plain": lambda *inputs: plain_attention(*inputs, pyramid)}
    if device.type == "cuda":
        compiled = torch.compile(plain_attention, dynamic=False)
        forms["compiled"] = lambda *inputs: compiled(*inputs, pyramid)
    forms["ours"] = lambda *inputs: deformable_attention(*inputs, pyramid)
    rows = []
    for name in given.dtype:
        like = {"dtype": getattr(torch, name), "device": device, "requires_grad": True}
        torch.manual_seed(0)
        inputs = [
            torch.randn(given.images, pixels, HEADS, WIDTH, **like),
            torch.randn(given.images, pixels, HEADS, 3, POINTS, 2, **like),
            torch.randn(given.images, pixels, HEADS, 3 * POINTS, **like),
        ]
        sizes = [(b, w) for b in (16, 32, 64) for w in (2, 4)] if given.sweep else [None]
        for form, run in forms.items():
            for size in sizes if form == "ours" else [None]:
                row: dict[str, object] = {"form": form, "dtype": name}
                if size is not None:
                    deformable_kernel.QUERIES, deformable_kernel.WARPS = size
                    row["queries, warps"] = size
                try:
                    row["forward_ms"] = round(median_ms(run, inputs, backward=False), 3)
                    row["backward_ms"] = round(median_ms(run, inputs, backward=True), 3)
                except Exception as error:
                    row["failed"] = str(error).splitlines()[0][:200]
                rows.append(row)
                print(json.dumps(row), flush=True)
    if given.out:
        given.out.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
