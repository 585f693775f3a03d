"""The bank of CLS tokens that CGA contrasts with besides those of the batch (CONCAT eq. 6)."""

import torch
from torch import Tensor, nn


class TokenBank(nn.Module):
    """First in, first out: the CLS tokens of the latest images (eq. 6). Size 0 is a bank that stays empty.

    Its buffers take part in `state_dict`, so a resumed run contrasts with the same tokens.
    """

    slots: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("slots", torch.zeros(size, width))  # oldest first
        self.filled = 0

    @property
    def tokens(self) -> Tensor:
        """The tokens held, oldest first, fp32, n×C with n <= size."""
        return self.slots[: self.filled].clone()

    @torch.no_grad()
    def push(self, tokens: Tensor) -> None:
        """Takes in the tokens of a batch, B×C, after its loss; the oldest leave."""
        held = torch.cat([self.tokens, tokens.to(self.slots)])
        held = held[max(len(held) - len(self.slots), 0) :]
        self.slots[: len(held)] = held
        self.filled = len(held)

    def get_extra_state(self) -> int:
        """How many are held; a number of the host, so that nothing waits for a device."""
        return self.filled

    def set_extra_state(self, state: int) -> None:
        """Takes up a number that a checkpoint holds."""
        self.filled = state
