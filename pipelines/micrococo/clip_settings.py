"""How the tiny CLIP of micrococo is trained."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MicroClipSettings:
    """How the tiny CLIP is trained.

    Attributes:
        seed: of weights, scenes and batches.
        scenes: training scenes held in memory (about 80 kB each).
        iterations: optimiser steps.
        whole_scenes, full_frames, crops: images of each kind in a batch.
        learning_rate: the top of the one-cycle schedule.
        weight_decay: of matrices and kernels; the token table, biases and norms have none.
        logit_scale_cap: the largest factor on cosines; a low one drives the names' embeddings apart.
        check_every: iterations between two checks, each of which writes the weights.
        check_scenes: scenes of the last check (the ones between take a quarter).
        threads: CPU threads of torch; results are repeated with the same number only.
        workers: processes that render.
    """

    seed: int = 0
    scenes: int = 9000
    iterations: int = 3600
    whole_scenes: int = 32
    full_frames: int = 128
    crops: int = 96
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    logit_scale_cap: float = 12.0
    check_every: int = 450
    check_scenes: int = 800
    threads: int = 1
    workers: int = 1
