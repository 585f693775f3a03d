"""CGA: conditional global alignment with CLIP's CLS tokens of images (CONCAT eqs. 4 to 6)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from pipelines.losses.alignment import AlignmentInput, StepTokens
from pipelines.losses.cga_settings import CgaSettings
from pipelines.losses.contrast import info_nce
from pipelines.losses.token_bank import TokenBank

Enhancement = Literal["multiply", "plus", "minus"]


class GlobalAlignment(nn.Module):
    """CGA with its bank of earlier tokens (C components), unweighted."""

    def __init__(self, settings: CgaSettings, *, text_dim: int) -> None:
        super().__init__()
        self.settings = settings
        self.bank = TokenBank(settings.bank_size, text_dim)

    def forward(self, given: AlignmentInput) -> Tensor:
        """L_CGA of a part of a step."""
        matched = torch.zeros(given.semantic.shape[:2], dtype=torch.bool, device=given.semantic.device)
        matched[given.image, given.query] = True
        return global_alignment(
            given.semantic,
            given.tokens.images,
            matched,
            self.bank.tokens,
            gamma=self.settings.gamma,
            enhancement=self.settings.enhancement,
            temperature=self.settings.temperature,
            first_image=given.first_image,
        )

    def end_step(self, tokens: StepTokens) -> None:
        """The tokens of the step enter the bank."""
        self.bank.push(tokens.images)


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
    first_image: int = 0,
) -> Tensor:
    """L_CGA (eqs. 4 to 6): each image's Ĉ = Σ_k w_k S_k against its own CLS token, the others' and the bank's.

    **Reading:** eq. 5 sums the S_k as the projector gives them; Ĉ is made unit length afterwards, in eq. 6.

    Args:
        semantic: S, B×K×C, unnormalised, of some images of the step.
        cls_tokens: N×C, of all N images of the step.
        matched: bool, B×K.
        gamma: γ.
        enhancement: as `query_weights`.
        bank: CLS tokens of earlier batches, n×C; None or empty: no bank.
        temperature: τ.
        first_image: where the B images begin among the N.

    Returns:
        Scalar, the sum over the B images divided by N.
    """
    own = torch.arange(first_image, first_image + len(semantic), device=semantic.device)
    weights = query_weights(semantic, cls_tokens[own], matched, gamma=gamma, enhancement=enhancement)
    predicted = (weights[..., None] * semantic.float()).sum(1)  # Ĉ, B×C
    keys = cls_tokens.float() if bank is None else torch.cat([cls_tokens.float(), bank.float()])
    return info_nce(predicted, keys, temperature=temperature, positives=own, normaliser=len(cls_tokens))
