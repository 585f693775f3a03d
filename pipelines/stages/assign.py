"""Which query shows which segment: the Hungarian assignment σ̂ of a trained extractor on one image."""

import torch
from torch import Tensor

from pipelines.forward import Extracted
from pipelines.losses.matching import MatchingLoss
from pipelines.projector import ProjectionHead
from pipelines.recipe import MatchingSettings
from pipelines.seeding import derive_seed
