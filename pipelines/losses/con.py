"""CON: conditional global and instance alignment with CLIP's CLS tokens (CONCAT eqs. 4 to 8)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from pipelines.losses.contrast import info_nce

Enhancement = Literal["multiply", "plus", "minus"]


def query_weights(
    semantic: Tensor, cls_tokens: Tensor, matched: Tensor, *, gamma: float, enhancement: Enhancement = "multiply"
) -> Tensor:
    """w_k = softmax_k( cos(S_k, C) · (γ · 1[k matched] + 1) ) (eq. 4), in fp32.

    Args:
        semantic: S, B×K×C.
        cls_tokens: C, B×C.
        matched: bool, B×K.
        gamma: γ; 0: unconditional (G of table 3).
        enhancement: `multiply` as above; `plus`: cos + γ·1[matched]; `minus`: cos − γ·1[matched] (supplement table 8).

    Returns:
        B×K, summing to 1 over the queries.
    """
    cosine = (normalize(semantic.float(), dim=-1) * normalize(cls_tokens.float(), dim=-1)[:, None]).sum(-1)  # B×K
    bonus = gamma * matched.float()
    if enhancement == "multiply":
        return (cosine * (bonus + 1)).softmax(-1)
    return (cosine + bonus if enhancement == "plus" else cosine - bonus).softmax(-1)


def global_alignment(
    semantic: Tensor,
    cls_tokens: Tensor,
    matched: Tensor,
    bank: Tensor | None = None,
    *,
    gamma: float,
    enhancement: Enhancement = "multiply",
    temperature: float,
) -> Tensor:
    """L_CGA (eqs. 4 to 6): each image's Ĉ = Σ_k w_k S_k against its own CLS token, the others' and the bank's.

    **Reading:** eq. 5 sums the S_k as the projector gives them; Ĉ is made unit length afterwards, in eq. 6.

    Args:
        semantic: S, B×K×C, unnormalised.
        cls_tokens: B×C.
        matched: bool, B×K.
        gamma: γ.
        enhancement: as `query_weights`.
        bank: CLS tokens of earlier batches, n×C; None or empty: no bank.
        temperature: τ.

    Returns:
        Scalar, mean over the images.
    """
    weights = query_weights(semantic, cls_tokens, matched, gamma=gamma, enhancement=enhancement)
    predicted = (weights[..., None] * semantic.float()).sum(1)  # Ĉ, B×C
    keys = cls_tokens.float() if bank is None else torch.cat([cls_tokens.float(), bank.float()])
    return info_nce(predicted, keys, temperature=temperature)


def instance_alignment(
    matched: Tensor,
    tokens: Tensor,
    image_index: Tensor,
    *,
    temperature: float,
    negatives: Literal["image", "batch"] = "image",
) -> Tensor:
    """L_CIA (eq. 8): each matched semantic query against the CLS tokens of the masked images.

    **Reading:** an image with a single segment has nothing to contrast; it is contrasted with the batch's segments.

    Args:
        matched: s', O×C, matched semantic queries of the batch.
        tokens: c', O×C, CLS tokens of their segments (a segment without a token is left out by the caller).
        image_index: int64, O, the image of each pair.
        temperature: τ.
        negatives: the other segments of the `image`, or of the whole `batch`.

    Returns:
        Scalar, mean over the segments; 0 if the batch has fewer than two.
    """
    allowed = None
    if negatives == "image":
        allowed = image_index[:, None] == image_index  # O×O
        allowed = allowed | (allowed.sum(1, keepdim=True) == 1)
    return info_nce(matched, tokens, allowed, temperature=temperature)


class TokenBank(nn.Module):
    """First in, first out: the CLS tokens of the latest images (eq. 6). Size 0 is a bank that stays empty.

    Its buffers take part in `state_dict`, so a resumed run contrasts with the same tokens.
    """

    slots: Tensor
    filled: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("slots", torch.zeros(size, width))  # oldest first
        self.register_buffer("filled", torch.tensor(0))

    @property
    def tokens(self) -> Tensor:
        """The tokens held, oldest first, fp32, n×C with n <= size."""
        return self.slots[: int(self.filled)].clone()

    @torch.no_grad()
    def push(self, tokens: Tensor) -> None:
        """Takes in the tokens of a batch, B×C, after its loss; the oldest leave."""
        held = torch.cat([self.tokens, tokens.to(self.slots)])
        held = held[max(len(held) - len(self.slots), 0) :]
        self.slots[: len(held)] = held
        self.filled.fill_(len(held))
