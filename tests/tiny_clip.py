"""A small, randomly initialised open_clip model and images in memory, for tests of what looks through CLIP."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.clip.encoder import ClipModel, load_clip
from pipelines.clip.settings import ClipSettings
from pipelines.data.formats.sample import Sample

CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def write_config(folder: Path, name: str = "tiny.json", **changes: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps({**CONFIG, **changes}))
    return path


def tiny_clip(folder: Path, **settings: Any) -> tuple[ClipModel, ClipSettings]:
    checked = ClipSettings(model=str(write_config(folder)), pretrained="random", **settings)
    return load_clip(checked, "cpu"), checked


@dataclass(frozen=True)
class Listed:
    id: int
    iscrowd: bool


@dataclass
class Scenes:
    """`count` images of noise, the i-th with i mod 4 segments of ids that no position gives away, and a crowd."""

    count: int
    height: int = 24
    width: int = 36
    reads: int = 0

    @property
    def image_ids(self) -> list[int]:
        return [900 - 7 * index for index in range(self.count)]

    def truth_segments(self, index: int) -> list[Listed]:
        return [Listed(1, iscrowd=True), *(Listed(id, iscrowd=False) for id in self._ids(index))]

    def sample(self, index: int) -> Sample:
        self.reads += 1
        rng = np.random.default_rng(index)
        image = torch.from_numpy(rng.integers(0, 256, (3, self.height, self.width), dtype=np.uint8))
        place = torch.from_numpy(rng.integers(0, 5, (self.height, self.width)))  # 4: void and crowd
        ids = self._ids(index)
        masks = torch.stack([place == number for number in range(4)])[: len(ids)]
        return Sample(
            image_id=self.image_ids[index],
            image=image,
            masks=masks,
            labels=torch.zeros(len(ids), dtype=torch.int64),
            segment_ids=torch.tensor(ids, dtype=torch.int64),
            ignore=~masks.any(dim=0),
        )

    @staticmethod
    def _ids(index: int) -> list[int]:
        return [5000 - 13 * number - index for number in range(index % 4)]
