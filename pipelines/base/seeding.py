"""Seeds that derive from their purpose (a seed, a step, an image), never from an earlier or a worker's state."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2⁶³) from a run's seed and what the draws are for, the same on every machine.

    Parts of different types or borders differ: (1, 23), (12, 3) and ("1", 23) have three seeds.
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
