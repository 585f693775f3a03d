"""CAT: losses of the vision-query generator (CONCAT eqs. 10 to 12). All take at least one query (M >= 1)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pipelines.losses.contrast import info_nce

BANDWIDTHS = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)


def mmd(real: Tensor, generated: Tensor, bandwidths: Sequence[float] = BANDWIDTHS) -> Tensor:
    """L_g = E k(v', v') + E k(v̂', v̂') − 2 E k(v', v̂'), k(a, b) = Σ_λ exp(−‖a−b‖² / 2λ²) (eq. 10), in fp32.

    The means run over all pairs, a vector with itself included (the biased estimate, never negative but for rounding).

    Args:
        real: v', M×D.
        generated: v̂', M'×D.
        bandwidths: λ.
    """
    real, generated = real.float(), generated.float()
    within = _kernel(real, real, bandwidths).mean() + _kernel(generated, generated, bandwidths).mean()
    return within - 2 * _kernel(real, generated, bandwidths).mean()


def _kernel(a: Tensor, b: Tensor, bandwidths: Sequence[float]) -> Tensor:
    """The kernel k of all pairs, M×M'."""
    with torch.autocast(a.device.type, enabled=False):
        squared = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0)
    return torch.stack([torch.exp(-squared / (2 * bandwidth**2)) for bandwidth in bandwidths]).sum(0)


def kl_standard_normal(mu: Tensor, log_var: Tensor) -> Tensor:
    """L_k = KL(N(μ, σ²) ‖ N(0, 1)), mean over latent components and samples, in fp32 (nats a component).

    Args:
        mu: M×Z.
        log_var: log σ², M×Z, clamped to [−8, 8].
    """
    mu, log_var = mu.float(), log_var.float().clamp(-8, 8)
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).mean()


def query_contrast(
    generated: Tensor,
    real: Tensor,
    image_index: Tensor,
    unmatched: Tensor | None = None,
    unmatched_image_index: Tensor | None = None,
    *,
    temperature: float,
    negatives: Literal["image", "batch"] = "image",
) -> Tensor:
    """L_RA (eq. 11): each generated query against the real matched queries and the unmatched ones, V∅.

    Args:
        generated: v̂', M×D; row i was made from row i of `real`.
        real: v', M×D.
        image_index: int64, M.
        unmatched: V∅, U×D; None: only matched queries are negatives.
        unmatched_image_index: int64, U; needed with `unmatched`.
        temperature: τ_r.
        negatives: queries of the same `image`, or of the whole `batch`.

    Returns:
        Scalar, mean over the generated queries.
    """
    keys, key_image = real, image_index
    if unmatched is not None:
        assert unmatched_image_index is not None
        keys, key_image = torch.cat([real, unmatched]), torch.cat([image_index, unmatched_image_index])
    allowed = image_index[:, None] == key_image if negatives == "image" else None  # M×(M+U)
    return info_nce(generated, keys, allowed, temperature=temperature)
