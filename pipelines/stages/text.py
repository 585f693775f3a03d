"""Text embeddings of one half of the vocabulary, from the text encoder or from given rows, in a store of their own."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipelines.clip.encoder import load_clip
from pipelines.clip.text import embed_names, open_text, text_store_path, write_text
from pipelines.runner import StageContext
from pipelines.vocabulary import Vocabulary, open_unseen
