"""The panoptic judge of `eval` finds what `concat score` finds in the files it writes, whatever names compete."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from panoptic_world import OTHER_THING, STUFF, THING, UNSEEN, VOCABULARY, World, segment, write_world

from pipelines.data.formats.panoptic_images import open_panoptic_images
from pipelines.inference.extract import Extracted
from pipelines.inference.masks import Padding
from pipelines.recipes.eval import EvalSettings
from pipelines.scoring.panoptic import score_panoptic
from pipelines.scoring.scores import Candidates
from pipelines.stages.judges.judge import Answer, Judged
from pipelines.stages.judges.panoptic import PanopticJudge

SIZE = (12, 16)


def _stripes(rng: np.random.Generator) -> NDArray[np.int32]:
    """A map of ids 1 to 5 and void, each in several places."""
    return np.kron(rng.integers(0, 6, (3, 4)), np.ones((4, 4), int)).astype(np.int32)


def _world(root: Path, rng: np.random.Generator) -> World:
    """Six images of seen and unseen segments, one of them a crowd."""
    categories = {1: THING, 2: OTHER_THING, 3: STUFF, 4: UNSEEN, 5: UNSEEN}
    images = {}
    for image in range(1, 7):
        ids = _stripes(rng)
        areas = {int(i): int((ids == i).sum()) for i in np.unique(ids) if i}
        images[image] = (ids, [segment(i, categories[i], area=a, iscrowd=int(i == 5)) for i, a in areas.items()])
    return write_world(root, images)


@pytest.mark.parametrize("candidates", ["generalised", "novel-only"])
@pytest.mark.parametrize("seed", range(5))
def test_the_judge_and_score_agree(tmp_path: Path, candidates: Candidates, seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = _world(tmp_path / "truth", rng)
    data = open_panoptic_images(world.annotations, world.images, world.png, VOCABULARY)
    settings = EvalSettings(score_threshold=0.1, overlap_threshold=0.5)
    judge = PanopticJudge(Judged(data, VOCABULARY, settings, tmp_path / "out", tmp_path / "list.json"))
    competing = [not (candidates == "novel-only" and not category.unseen) for category in VOCABULARY.categories]
    records = []
    for index in range(len(data)):
        drawn = np.where(rng.random(SIZE) < 0.7, data.truth(index)[0], _stripes(rng))
        masks = torch.from_numpy(np.where(drawn == np.arange(1, 6)[:, None, None], 9.0, -9.0)).float()  # 5×12×16
        probabilities = torch.from_numpy(rng.random((5, 4))).float() * torch.tensor(competing)
        extracted = Extracted(data.sample(index), torch.zeros(5, 8), masks, Padding(input=SIZE, content=SIZE))
        records.append(judge.record(extracted, index, {"a": Answer(probabilities, candidates)}, {"inductive": "a"}))
    judge.write_predictions(records, "inductive")
    found = judge.scores(json.loads(json.dumps(records)), {"a": candidates})["a"]
    written = tmp_path / "out/inductive.json"
    scored = score_panoptic(world.annotations, written, vocabulary=VOCABULARY, candidates=candidates, workers=1)
    assert found.groups == scored.groups
    assert found.categories == scored.categories
    assert any(category.figures["tp"] for category in found.categories)
