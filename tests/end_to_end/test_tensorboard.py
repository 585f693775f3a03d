"""What TensorBoard shows of a run, and that drawing it changes nothing."""

import io
import json
import math
from pathlib import Path

import numpy as np
import torch
from concat_command import FinishedRun
from lightning_fabric import Fabric
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipelines.base.progress import SilentReporter
from pipelines.clip.text import open_text
from pipelines.models.extractor import load_extractor
from pipelines.recipes.load import load_recipe
from pipelines.runs.manifest import read_manifest
from pipelines.runs.run import Run
from pipelines.stages.images import training_images
from pipelines.stages.training_panels import TrainingPanels
from pipelines.vocabularies.vocabulary import open_seen

COMMON = {"loss/total", "learning_rate/all", "gradient_norm", "images_per_second", "peak_memory_GiB"}
GROUPS = {"all", "things", "stuff", "seen", "unseen", "harmonic"}


def _board(folder: Path) -> EventAccumulator:
    board = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0}).Reload()
    for tag in board.Tags()["scalars"]:
        assert all(math.isfinite(event.value) for event in board.Scalars(tag)), tag
    return board


def _steps(board: EventAccumulator) -> dict[str, list[int]]:
    return {tag: [event.step for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def test_every_training_stage_shows_its_losses_and_rates(smoke: FinishedRun) -> None:
    losses = {
        "con": {"loss/class", "loss/mask", "loss/dice", "loss/cga", "loss/cia"},
        "cat": {"loss/mmd", "loss/kl", "loss/contrast", "loss/supervision"},
        "finetune": {"loss/real", "loss/pseudo"},
    }
    for folder, own in losses.items():
        steps = _steps(_board(smoke.folder / folder))
        assert set(steps) == COMMON | own
        logged = [json.loads(line)["step"] for line in (smoke.folder / folder / "metrics.jsonl").open()]
        assert all(found == logged for found in steps.values()), folder


def test_train_con_shows_its_panels_at_checkpoints_and_the_end(smoke: FinishedRun) -> None:
    images = _board(smoke.folder / "con").Images("panels")
    assert [image.step for image in images] == [20, 40, 60]
    pages = [np.asarray(Image.open(io.BytesIO(image.encoded_image_string))) for image in images]
    assert all(page.shape == pages[0].shape and page.std() > 10 for page in pages)
    assert (pages[0] != pages[-1]).any()


def test_eval_shows_its_curves_and_its_panels(smoke: FinishedRun) -> None:
    board, metrics = _board(smoke.folder / "eval"), json.loads((smoke.folder / "eval/metrics.json").read_text())
    sweep, path = "inductive_pq_at_increment_x1000/", "finetune_pq/"
    steps = _steps(board)
    assert set(steps) == {curve + group for curve in (sweep, path) for group in GROUPS}
    for group in GROUPS:
        assert steps[sweep + group] == [0, 500, 1000, 1500, 2000]
        assert steps[path + group] == [10, 20]
        shown = board.Scalars(path + group)[-1].value
        assert math.isclose(shown, metrics["transductive"]["panoptic"][group]["pq"], rel_tol=1e-5, abs_tol=1e-6)
    (image,) = board.Images("panels")
    with Image.open(smoke.folder / "eval/panels.png") as page:
        assert (image.step, image.width, image.height) == (20, page.width, page.height)


def test_nothing_of_tensorboard_is_an_output_that_a_stage_could_read(smoke: FinishedRun) -> None:
    for folder in ("con", "cat", "finetune", "eval"):
        manifest = read_manifest(smoke.folder / folder / "manifest.json")
        assert "tensorboard" not in manifest.outputs
        assert "panels" not in manifest.settings.get("con", {})


def test_drawing_panels_leaves_model_modes_and_random_state_alone(smoke: FinishedRun) -> None:
    recipe = load_recipe(str(smoke.folder / "recipe.toml"))
    seen = open_seen(smoke.folder / "split/seen.json")
    manifest = read_manifest(smoke.folder / "con/manifest.json")
    text = open_text(Path(manifest.inputs["text_seen"].path), seen.names, stage="train-con")
    run = Run(smoke.folder, recipe, smoke.cache, SilentReporter())
    data = training_images(run, smoke.folder / "split/train.json", seen)
    extractor = load_extractor(smoke.folder / "con/model.safetensors", recipe.con, text.shape[1]).train()
    extractor.head.eval()  # as a part that is frozen while the others learn
    modes = {name: module.training for name, module in extractor.named_modules()}
    state = {name: tensor.clone() for name, tensor in extractor.state_dict().items()}
    draw = TrainingPanels(Fabric(accelerator="cpu", devices=1), extractor, data, seen, text, recipe)
    before = torch.get_rng_state()
    pages = [draw(), draw()]
    assert torch.equal(torch.get_rng_state(), before)
    assert {name: module.training for name, module in extractor.named_modules()} == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in extractor.state_dict().items())
    assert all(parameter.grad is None for parameter in extractor.parameters())
    assert (pages[0] == pages[1]).all()
    assert len(draw.indices) == recipe.con.panels == len(set(draw.indices))
