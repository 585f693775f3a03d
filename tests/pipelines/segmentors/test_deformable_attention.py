"""Deformable attention: the plain form against transformers', its recomputation, and the kernel, run or interpreted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers.models.mask2former.modeling_mask2former import multi_scale_deformable_attention

from pipelines.segmentors.deformable_attention import Pyramid, deformable_attention, plain_attention

SHAPES = ((2, 3), (4, 5), (7, 6))


def _inputs(
    *, heads: int = 2, width: int = 16, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    pixels = sum(height * width for height, width in SHAPES)
    shapes = [(2, pixels, heads, width), (2, pixels, heads, 3, 4, 2), (2, pixels, heads, 12)]
    drawn = [torch.randn(*shape, generator=random) * scale for shape, scale in zip(shapes, (1, 3, 1), strict=True)]
    drawn[1] = (drawn[1] * 4).floor() / 4 + 0.07  # between pixels: on them there are two derivatives
    return [own.to(device=device, dtype=dtype).requires_grad_() for own in drawn]


def _with_gradients(attended: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    weights = torch.linspace(-1, 1, attended.numel(), device=attended.device).view_as(attended)
    return [attended.detach(), *torch.autograd.grad((attended * weights).sum(), inputs)]


def _differ(ours: list[Tensor], others: list[Tensor]) -> float:
    return max(
        ((own.double() - other.double()).norm() / other.double().norm()).item()
        for own, other in zip(ours, others, strict=True)
    )


def test_the_plain_form_is_that_of_transformers() -> None:
    inputs, pyramid = _inputs(dtype=torch.float64), Pyramid.of(SHAPES, torch.device("cpu"))
    value, offsets, logits = inputs
    sizes = torch.tensor([[width, height] for height, width in SHAPES], dtype=torch.float64)
    places = pyramid.centres[None, :, None, None, None] + offsets / sizes[:, None]
    weights = logits.softmax(-1).unflatten(-1, (3, 4))
    theirs = multi_scale_deformable_attention(value, list(SHAPES), places, weights)
    ours = plain_attention(*inputs, pyramid)
    assert _differ(_with_gradients(ours, inputs), _with_gradients(theirs, inputs)) < 1e-6  # centres are fp32


def test_what_is_computed_again_is_the_same() -> None:
    inputs, pyramid = _inputs(), Pyramid.of(SHAPES, torch.device("cpu"))
    once = _with_gradients(plain_attention(*inputs, pyramid), inputs)
    again = _with_gradients(deformable_attention(*inputs, pyramid), inputs)
    assert all(torch.equal(own, other) for own, other in zip(again, once, strict=True))


def test_the_gradients_are_those_of_differences() -> None:
    inputs = [own.detach()[:1, :, :1].requires_grad_() for own in _inputs(width=8, dtype=torch.float64)]
    pyramid = Pyramid.of(SHAPES, torch.device("cpu"))
    assert torch.autograd.gradcheck(lambda *given: deformable_attention(*given, pyramid), inputs, fast_mode=True)


def test_a_place_of_its_own_is_read_exactly() -> None:
    pyramid = Pyramid.of([(2, 2)], torch.device("cpu"))
    value = torch.arange(4.0).view(1, 4, 1, 1)
    offsets = torch.zeros(1, 4, 1, 1, 1, 2)
    assert deformable_attention(value, offsets, torch.zeros(1, 4, 1, 1), pyramid).flatten().tolist() == [0, 1, 2, 3]
    offsets[..., 0] = 0.5  # half a pixel to the right: at the border half of it is beyond
    attended = deformable_attention(value, offsets, torch.zeros(1, 4, 1, 1), pyramid)
    assert attended.flatten().tolist() == [0.5, 0.5, 2.5, 1.5]


def test_the_kernel_as_triton_interprets_it_is_the_plain_form() -> None:
    """Without a card the kernel's own code runs in Triton's interpreter."""
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, __file__], check=True, env=environment, timeout=300)


def _interpret() -> None:
    from contextlib import nullcontext

    from pipelines.segmentors import deformable_kernel, deformable_triton

    deformable_kernel._kernels = lambda device: deformable_triton  # type: ignore[assignment]
    torch.cuda.device_of = lambda value: nullcontext()  # type: ignore[assignment, misc, return-value]
    pyramid = Pyramid.of(SHAPES, torch.device("cpu"))
    for dtype, width, allowed in ((torch.float32, 16, 1e-5), (torch.bfloat16, 32, 1e-2)):
        inputs = _inputs(width=width, heads=4, dtype=dtype)
        fused = deformable_kernel.fused_attention(*inputs, pyramid.centres, pyramid.table)
        exact = [own.detach().float().requires_grad_() for own in inputs]
        plain = plain_attention(*exact, pyramid)
        assert _differ(_with_gradients(fused, inputs), _with_gradients(plain, exact)) < allowed


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize(("heads", "width"), [(2, 16), (8, 32)])
def test_the_kernel_on_a_card_is_the_plain_form(dtype: torch.dtype, allowed: float, heads: int, width: int) -> None:
    inputs = _inputs(heads=heads, width=width, dtype=dtype, device="cuda")
    pyramid = Pyramid.of(SHAPES, torch.device("cuda"))
    fused = deformable_attention(*inputs, pyramid)
    assert type(fused.grad_fn).__name__ == "_FusedBackward"
    exact = [own.detach().float().requires_grad_() for own in inputs]
    plain = plain_attention(*exact, pyramid)
    assert _differ(_with_gradients(fused, inputs), _with_gradients(plain, exact)) < allowed


def test_a_card_that_cannot_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.segmentors import deformable_kernel

    monkeypatch.setitem(sys.modules, "pipelines.segmentors.deformable_triton", None)  # the import fails
    deformable_kernel._kernels.cache_clear()
    with pytest.warns(RuntimeWarning, match="plain, slower form"):
        assert deformable_kernel._kernels(torch.device("cuda", 0)) is None
    assert deformable_kernel._kernels(torch.device("cuda", 0)) is None
    deformable_kernel._kernels.cache_clear()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    _interpret()
