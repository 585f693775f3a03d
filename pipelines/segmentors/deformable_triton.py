"""The two kernels of deformable attention, in Triton; imported only where there is a card."""

# ruff: noqa: D103
import torch
import triton
import triton.language as tl


@triton.jit
def _queries(centres, S, H: tl.constexpr, BLOCK: tl.constexpr):
    """Image, head, and the queries of a program: which there are, where they stand in memory and in the picture."""
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b, h = tl.program_id(1) // H, tl.program_id(1) % H
    there = rows < S
    x = tl.load(centres + rows * 2, mask=there, other=0.0)
    y = tl.load(centres + rows * 2 + 1, mask=there, other=0.0)
    return b, h, there, (b * S + rows) * H + h, x, y


@triton.jit
def _level(table, level):
    """Height, width and first pixel of a level."""
    return tl.load(table + 3 * level), tl.load(table + 3 * level + 1), tl.load(table + 3 * level + 2)


@triton.jit
def _corner(value, b, h, x, y, height, width, first, there, S, H: tl.constexpr, D: tl.constexpr):
    """The values (Q×D, fp32) at pixels x, y of a level, 0 beyond its border; where they lie, and which are inside."""
    inside = there & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    row = ((b * S + first + y * width + x) * H + h) * D
    at = tl.where(inside, row, 0)[:, None] + tl.arange(0, D)[None, :]
    return tl.load(value + at, mask=inside[:, None], other=0.0).to(tl.float32), at, inside[:, None]


@triton.jit
def _softmax_of(logits, at, there, LP: tl.constexpr, points: tl.constexpr):
    """Largest logit and sum of exponentials of each query."""
    p = tl.arange(0, LP)
    scores = tl.load(logits + at[:, None] * points + p[None, :], mask=there[:, None] & (p < points)[None, :], other=0.0)
    scores = tl.where((p < points)[None, :], scores.to(tl.float32), -float("inf"))
    top = tl.max(scores, 1)
    return top, tl.sum(tl.exp(scores - top[:, None]), 1)


@triton.jit
def _place(offsets, at, point, points: tl.constexpr, centre_x, centre_y, height, width, there):
    """Left upper pixel and the fractions beyond it of where a query looks."""
    x = tl.load(offsets + (at * points + point) * 2, mask=there, other=0.0).to(tl.float32) + centre_x * width - 0.5
    y = tl.load(offsets + (at * points + point) * 2 + 1, mask=there, other=0.0).to(tl.float32) + centre_y * height - 0.5
    x = tl.minimum(tl.maximum(x, -2.0), width + 1.0)  # all of it is beyond the border
    y = tl.minimum(tl.maximum(y, -2.0), height + 1.0)
    left, upper = tl.floor(x), tl.floor(y)
    return left.to(tl.int32), upper.to(tl.int32), x - left, y - upper


@triton.jit
def forward(
    value, offsets, logits, centres, table, attended, S,
    H: tl.constexpr, D: tl.constexpr, L: tl.constexpr, P: tl.constexpr, LP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, h, there, at, centre_x, centre_y = _queries(centres, S, H, BLOCK)
    top, total = _softmax_of(logits, at, there, LP, L * P)
    sum = tl.zeros([BLOCK, D], tl.float32)
    for point in range(L * P):
        height, width, first = _level(table, point // P)
        weight = tl.exp(tl.load(logits + at * (L * P) + point, mask=there, other=0.0).to(tl.float32) - top) / total
        x, y, fx, fy = _place(offsets, at, point, L * P, centre_x, centre_y, height, width, there)
        v, _, _ = _corner(value, b, h, x, y, height, width, first, there, S, H, D)
        sum += v * (weight * (1 - fx) * (1 - fy))[:, None]
        v, _, _ = _corner(value, b, h, x + 1, y, height, width, first, there, S, H, D)
        sum += v * (weight * fx * (1 - fy))[:, None]
        v, _, _ = _corner(value, b, h, x, y + 1, height, width, first, there, S, H, D)
        sum += v * (weight * (1 - fx) * fy)[:, None]
        v, _, _ = _corner(value, b, h, x + 1, y + 1, height, width, first, there, S, H, D)
        sum += v * (weight * fx * fy)[:, None]
    out = attended + at[:, None] * D + tl.arange(0, D)[None, :]
    tl.store(out, sum.to(attended.dtype.element_ty), mask=there[:, None])


@triton.jit
def backward(
    value, offsets, logits, centres, table, grad, of_value, of_offsets, of_logits, S,
    H: tl.constexpr, D: tl.constexpr, L: tl.constexpr, P: tl.constexpr, LP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    b, h, there, at, centre_x, centre_y = _queries(centres, S, H, BLOCK)
    top, total = _softmax_of(logits, at, there, LP, L * P)
    own = at[:, None] * D + tl.arange(0, D)[None, :]
    g = tl.load(grad + own, mask=there[:, None], other=0.0).to(tl.float32)
    mean = tl.zeros([BLOCK], tl.float32)
    for point in range(L * P):
        height, width, first = _level(table, point // P)
        weight = tl.exp(tl.load(logits + at * (L * P) + point, mask=there, other=0.0).to(tl.float32) - top) / total
        x, y, fx, fy = _place(offsets, at, point, L * P, centre_x, centre_y, height, width, there)
        v, to, inside = _corner(value, b, h, x, y, height, width, first, there, S, H, D)
        tl.atomic_add(of_value + to, g * (weight * (1 - fx) * (1 - fy))[:, None], mask=inside, sem="relaxed")
        upper_left = tl.sum(v * g, 1)
        v, to, inside = _corner(value, b, h, x + 1, y, height, width, first, there, S, H, D)
        tl.atomic_add(of_value + to, g * (weight * fx * (1 - fy))[:, None], mask=inside, sem="relaxed")
        upper_right = tl.sum(v * g, 1)
        v, to, inside = _corner(value, b, h, x, y + 1, height, width, first, there, S, H, D)
        tl.atomic_add(of_value + to, g * (weight * (1 - fx) * fy)[:, None], mask=inside, sem="relaxed")
        lower_left = tl.sum(v * g, 1)
        v, to, inside = _corner(value, b, h, x + 1, y + 1, height, width, first, there, S, H, D)
        tl.atomic_add(of_value + to, g * (weight * fx * fy)[:, None], mask=inside, sem="relaxed")
        lower_right = tl.sum(v * g, 1)
        upper, lower = upper_left + fx * (upper_right - upper_left), lower_left + fx * (lower_right - lower_left)
        along_x = (1 - fy) * (upper_right - upper_left) + fy * (lower_right - lower_left)
        of_weight = upper + fy * (lower - upper)
        here = at * (L * P) + point
        mean += weight * of_weight
        tl.store(of_logits + here, weight * of_weight, mask=there)
        tl.store(of_offsets + 2 * here, (weight * along_x).to(of_offsets.dtype.element_ty), mask=there)
        tl.store(of_offsets + 2 * here + 1, (weight * (lower - upper)).to(of_offsets.dtype.element_ty), mask=there)
    # The gradient of a softmax is that of its weights less their mean, which is known only now.
    tl.debug_barrier()
    p = tl.arange(0, LP)
    own = at[:, None] * (L * P) + p[None, :]
    inside = there[:, None] & (p < L * P)[None, :]
    weights = tl.exp(tl.load(logits + own, mask=inside, other=0.0).to(tl.float32) - top[:, None]) / total[:, None]
    tl.store(of_logits + own, tl.load(of_logits + own, mask=inside) - weights * mean[:, None], mask=inside)


def try_out(device: torch.device) -> None:
    """Compiles a kernel and runs it once, so that what cannot work fails here."""
    value, offsets = torch.zeros(1, 1, 1, 16, device=device), torch.zeros(1, 1, 1, 1, 1, 2, device=device)
    table = torch.tensor([[1, 1, 0]], dtype=torch.int32, device=device)
    given = (value, offsets, torch.zeros(1, 1, 1, 1, device=device), torch.zeros(1, 2, device=device), table)
    forward[(1, 1)](*given, torch.zeros(1, 1, 16, device=device), 1, H=1, D=16, L=1, P=1, LP=1, BLOCK=16)
    torch.cuda.synchronize(device)
