"""The protocol guard, proven by planting leaks.

`precompute`, `train-con`, `dump-queries` and `train-cat` know neither the names of unseen categories nor their
embeddings, and no training batch holds a pixel of theirs.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import pytest
import torch
import zarr
from concat_command import FinishedRun, concat_here, environment, forge, refused
from safetensors import safe_open
from safetensors.torch import save_file

from pipelines.base.errors import ProtocolError
from pipelines.base.files import sha256
from pipelines.base.progress import SilentReporter
from pipelines.clip.text import open_text, write_text
from pipelines.data.formats.coco_panoptic import read_panoptic
from pipelines.data.formats.panoptic_png import read_panoptic_png
from pipelines.recipes.load import load_recipe, write_recipe
from pipelines.runs.manifest import read_manifest, write_manifest
from pipelines.runs.run import Run, Stage, StageContext
from pipelines.segmentors.weights_file import MICRO_BACKBONE
from pipelines.stages.chain import DUMP_QUERIES, EVAL, FINETUNE, PRECOMPUTE, TRAIN_CAT, TRAIN_CON
from pipelines.vocabularies.vocabulary import load_vocabulary, open_seen

BLIND = ("precompute", "train-con", "dump-queries", "train-cat")
TELLING = ("unseen.json", "val.json", "dropped.csv", "counts.csv", "overlay_train.png", "overlay_val.png")
"""What `split-coco` leaves that tells of unseen categories."""


def _unseen() -> list[str]:
    return load_vocabulary("micrococo").unseen.names


# --- who opens what --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Watched:
    """A run whose stages ran again under watch.

    Attributes:
        opened: stage → the files that it opened.
    """

    folder: Path
    cache: Path
    opened: dict[str, list[Path]]


@pytest.fixture(scope="module")
def watched(smoke: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """The four blind stages run while everything that tells of unseen categories is gone; then it comes back."""
    root = tmp_path_factory.mktemp("watched")
    blind = _watch_blind_stages(smoke, root)
    split = blind.folder / "split"
    shutil.rmtree(split)
    shutil.copytree(smoke.folder / "split", split)
    return Watched(blind.folder, blind.cache, blind.opened | _watch(blind.folder, blind.cache, "finetune", "eval"))


@pytest.fixture(scope="module", params=["semantic", "instance"])
def watched_task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """The same of the other two tasks, the four blind stages alone."""
    return _watch_blind_stages(request.getfixturevalue(request.param), tmp_path_factory.mktemp("watched"))


def _watch_blind_stages(finished: FinishedRun, root: Path) -> Watched:
    run = finished.copy(root, "precompute", "con", "dump", "cat", "finetune", "eval")
    cache = finished.copy_scenes(root)
    short = ("con.iterations=3", "cat.iterations=3", "finetune.iterations=2", "finetune.keep_every=1", "eval.panels=0")
    write_recipe(run / "recipe.toml", load_recipe(str(run / "recipe.toml"), short))
    _take_away(run / "split", TELLING)
    return Watched(run, cache, _watch(run, cache, *BLIND))


def _take_away(split: Path, names: tuple[str, ...]) -> None:
    """Deletes outputs, and from the manifest that they ever were there."""
    manifest = read_manifest(split / "manifest.json")
    for name in names:
        (split / name).unlink()
        del manifest.outputs[name]
    write_manifest(split / "manifest.json", manifest)


def _watch(run: Path, cache: Path, *stages: str) -> dict[str, list[Path]]:
    script = Path(__file__).with_name("opened_files.py")
    shown = subprocess.run(
        [sys.executable, str(script), str(run), str(cache), *stages],
        env=environment(cache),
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    opened = json.loads(shown.stdout.splitlines()[-1])
    return {stage: [Path(path) for path in paths] for stage, paths in opened.items()}


def _names_in_text_stores(paths: list[Path]) -> set[str]:
    return {name for names in _text_stores(paths) for name in names}


def _text_stores(paths: list[Path]) -> list[set[str]]:
    """The names in each text store that was opened, or written and renamed."""
    opened = {parent for path in paths for parent in path.parents if parent.name.startswith("text-")}
    stores = {store.with_name(store.name.removesuffix(".partial")) for store in opened}
    return [set(zarr.open_group(store, mode="r").attrs["names"]) for store in stores]


@pytest.mark.parametrize("stage", BLIND)
def test_a_blind_stage_opens_nothing_that_tells_of_unseen_categories(watched: Watched, stage: str) -> None:
    _check_blind(watched, stage, set(load_vocabulary("micrococo").seen.names))


@pytest.mark.parametrize("stage", BLIND)
def test_nor_does_a_blind_stage_of_another_task(watched_task: Watched, stage: str) -> None:
    told = set(open_seen(watched_task.folder / "split/seen.json").names)
    assert told
    assert not told & set(_unseen())
    _check_blind(watched_task, stage, told)


def _check_blind(watched: Watched, stage: str, names: set[str]) -> None:
    """The stage opened the seen names' files alone, and of the images only those that the training list has."""
    opened = watched.opened[stage]
    of_split = {path.name for path in opened if path.parent == watched.folder / "split"}
    assert "seen.json" in of_split
    assert of_split <= {"manifest.json", "train.json", "seen.json"}
    assert _names_in_text_stores(opened) == names
    lists = [path for path in opened if "vocabularies" in path.parts and path.suffix not in (".py", ".pyc")]
    assert not lists + [path for path in opened if path.parent.name == "annotations"]
    listed = json.loads((watched.folder / "split/train.json").read_text())["images"]
    pictures = [path for path in opened if path.suffix in (".jpg", ".png")]
    assert {path.stem for path in pictures} <= {Path(image["file_name"]).stem for image in listed}
    assert not [path for path in pictures if "val2017" in str(path) or "tune2017" in str(path)]
    assert bool(pictures) == (stage != "train-cat")


@pytest.mark.parametrize("stage", ["finetune", "eval"])
def test_finetune_and_eval_open_the_unseen_names_in_files_of_their_own(watched: Watched, stage: str) -> None:
    opened = watched.opened[stage]
    assert watched.folder / "split/unseen.json" in opened
    vocabulary = load_vocabulary("micrococo")
    assert sorted(_text_stores(opened), key=len) == [set(vocabulary.unseen.names), set(vocabulary.seen.names)]


def test_finetune_opens_no_image(watched: Watched) -> None:
    assert not [path for path in watched.opened["finetune"] if path.suffix in (".jpg", ".png")]


def test_the_blind_stages_made_the_same_without_what_tells_of_unseen_categories(
    watched: Watched, smoke: FinishedRun
) -> None:
    for name in ("images", "text_seen"):
        made = [read_manifest(run / "precompute/manifest.json").outputs[name] for run in (watched.folder, smoke.folder)]
        assert made[0].sha256 == made[1].sha256


# --- what training holds ---------------------------------------------------------------------------------------------


def test_no_training_image_holds_an_unseen_pixel(smoke: FinishedRun) -> None:
    scenes = next((smoke.cache / "micrococo").glob("*/annotations/panoptic_train2017.json"))
    given = {entry.image_id: entry for entry in read_panoptic(scenes).annotations}
    unseen = set(load_vocabulary("micrococo").unseen.ids)
    kept = read_panoptic(smoke.folder / "split/train.json")
    for entry in kept.annotations:
        category_of = {segment.id: segment.category_id for segment in given[entry.image_id].segments_info}
        ids = read_panoptic_png(scenes.with_suffix("") / entry.file_name)
        assert not unseen & {category_of[i] for i in set(ids.ravel().tolist()) - {0}}
    rest = set(given) - {entry.image_id for entry in kept.annotations}
    assert rest
    assert all(unseen & {segment.category_id for segment in given[i].segments_info} for i in rest)


def test_manifests_say_which_stage_knows_unseen_names(smoke: FinishedRun) -> None:
    folders = ("split", "precompute", "con", "dump", "cat", "finetune", "eval")
    protocols = {folder: read_manifest(smoke.folder / folder / "manifest.json").protocol for folder in folders}
    assert [folder for folder in folders if protocols[folder].unseen_names_used] == ["split", "finetune", "eval"]
    assert all(protocol.images_dropped and not protocol.unseen_pixels_ignored for protocol in protocols.values())
    origin = read_manifest(smoke.folder / "con/manifest.json").notes["backbone"]
    assert not set(origin["training_labels"]) & set(_unseen())
    assert origin["sha256"] == sha256(MICRO_BACKBONE)


# --- planted leaks ---------------------------------------------------------------------------------------------------


def _plant_segment(train: Path) -> str:
    """Gives a segment of the third image an unseen category; what the error has to say."""
    content = json.loads(train.read_text())
    category = load_vocabulary("micrococo").unseen.ids[0]
    content["annotations"][2]["segments_info"][0]["category_id"] = category
    train.write_text(json.dumps(content))
    image = content["images"][2]
    return f"Image {image['id']} ({image['file_name']}) holds category {category}"


def _plant_name(store: Path) -> str:
    """Adds an unseen name to a text store."""
    names = list(zarr.open_group(store, mode="r").attrs["names"])
    rows = open_text(store, names, stage="test")
    write_text(store, [*names, _unseen()[0]], torch.cat([rows, rows[:1]]))
    return f"{store.name} holds {_unseen()[0]!r}"


def _plant_label(dump: Path) -> str:
    """Makes a dump know an unseen name."""
    shard = next(dump.glob("*.h5"))
    with h5py.File(shard, "r+") as file:
        file.attrs["names"] = [*file.attrs["names"], _unseen()[0]]
    return f"{shard.name} holds {_unseen()[0]!r}"


def _adjust_manifest(manifest: Path, name: str, path: Path) -> None:
    """Makes a manifest agree with a changed output, as someone would who means to leak."""
    content, stat = read_manifest(manifest), path.stat()
    changed = {"sha256": sha256(path), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    content.outputs[name] = content.outputs[name].model_copy(update=changed)
    write_manifest(manifest, content)


LEAKS = [
    (PRECOMPUTE, "train.json", _plant_segment),
    (TRAIN_CON, "train.json", _plant_segment),
    (DUMP_QUERIES, "train.json", _plant_segment),
    (TRAIN_CON, "text_seen", _plant_name),
    (DUMP_QUERIES, "text_seen", _plant_name),
    (TRAIN_CAT, "text_seen", _plant_name),
    (FINETUNE, "text_seen", _plant_name),
    (EVAL, "text_seen", _plant_name),
    (TRAIN_CAT, "queries", _plant_label),
    (FINETUNE, "queries", _plant_label),
]


@pytest.mark.parametrize(("stage", "name", "plant"), LEAKS, ids=[f"{s.name}-{name}" for s, name, _ in LEAKS])
def test_a_stage_refuses_a_planted_leak(
    smoke: FinishedRun, tmp_path: Path, stage: Stage, name: str, plant: Callable[[Path], str]
) -> None:
    records = read_manifest(smoke.folder / stage.folder / "manifest.json").inputs
    inputs = {name: smoke.folder / record.path for name, record in records.items() if record.producer}
    copy = shutil.copytree if inputs[name].is_dir() else shutil.copy2
    inputs[name] = Path(copy(inputs[name], tmp_path / inputs[name].name))
    said = plant(inputs[name])
    recipe = load_recipe(str(smoke.folder / "recipe.toml"))
    run = Run(smoke.folder, recipe, _own_stores(smoke, tmp_path), SilentReporter())
    (tmp_path / "out").mkdir()
    with pytest.raises(ProtocolError) as caught:
        stage.execute(StageContext(run, stage.name, tmp_path / "out", "key", inputs))
    assert caught.value.message.startswith(said)
    if plant is not _plant_segment:
        assert stage.name in caught.value.message
    assert caught.value.file in (inputs[name], inputs[name] / "000.h5")


def _own_stores(smoke: FinishedRun, root: Path) -> Path:
    """A cache of one's own with the scenes of the smoke run."""
    (root / "cache").mkdir()
    (root / "cache/micrococo").symlink_to(smoke.cache / "micrococo")
    return root / "cache"


def test_a_planted_segment_ends_the_command_that_meets_it(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path)
    said = _plant_segment(run / "split/train.json")
    _adjust_manifest(run / "split/manifest.json", "train.json", run / "split/train.json")
    refused(concat_here("train-con", "--run", run, cache=smoke.cache), said, "unseen pixels", "Run split-coco again")


def test_a_planted_segment_without_a_forged_manifest_only_makes_the_split_anew(
    smoke: FinishedRun, tmp_path: Path
) -> None:
    run = smoke.copy(tmp_path)
    _plant_segment(run / "split/train.json")
    shown = concat_here("train-con", "--run", run, cache=smoke.cache)
    assert shown.returncode == 0, shown.stderr
    assert "split-coco, which train-con needs: output train.json was changed" in shown.stdout
    assert sha256(run / "split/train.json") == sha256(smoke.folder / "split/train.json")


def test_a_store_that_was_given_an_unseen_name_ends_the_command_that_meets_it(
    smoke: FinishedRun, tmp_path: Path
) -> None:
    run, cache = smoke.copy(tmp_path, "con"), Path(shutil.copytree(smoke.cache, tmp_path / "cache"))
    manifest = run / "precompute/manifest.json"
    forge(manifest, lambda text: text.replace(f"{smoke.cache.resolve()}/", f"{cache}/"))
    said = _plant_name(Path(read_manifest(manifest).outputs["text_seen"].path))
    refused(concat_here("train-con", "--run", run, cache=cache), said, "none of the names precompute may read")


# --- the backbone ----------------------------------------------------------------------------------------------------


def _backbone(path: Path, *more_labels: str) -> Path:
    """The shipped backbone, said to have been trained on further labels."""
    with safe_open(MICRO_BACKBONE, framework="pt") as file:
        state, metadata = {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata())  # noqa: SIM118
    metadata["training_labels"] = json.dumps([*json.loads(metadata["training_labels"]), *more_labels])
    save_file(state, path, metadata=metadata)
    return path


@pytest.mark.parametrize("label", [_unseen()[0], _unseen()[0].upper()])
def test_a_backbone_that_was_taught_an_unseen_category_is_refused(
    smoke: FinishedRun, tmp_path: Path, label: str
) -> None:
    run, path = smoke.copy(tmp_path), _backbone(tmp_path / "backbone.safetensors", label)
    shown = concat_here("train-con", "--run", run, "--set", f"con.segmentor.backbone_weights={path}", cache=smoke.cache)
    refused(shown, repr(label), "unseen category", f"File   {path}")


def test_a_backbone_exchanged_after_the_split_is_refused(smoke: FinishedRun, tmp_path: Path) -> None:
    run, path = smoke.copy(tmp_path), _backbone(tmp_path / "backbone.safetensors")
    shown = concat_here(
        "split-coco", "--run", run, "--set", f"con.segmentor.backbone_weights={path}", cache=smoke.cache
    )
    assert shown.returncode == 0, shown.stderr
    _backbone(path, _unseen()[0])
    refused(concat_here("train-con", "--run", run, cache=smoke.cache), repr(_unseen()[0]), "unseen category")


@pytest.mark.parametrize("name", ["resnet50_clip.openai", "vit_base_patch16_clip_224.laion2b"])
def test_a_clip_tower_as_a_backbone_is_refused(smoke: FinishedRun, tmp_path: Path, name: str) -> None:
    run = smoke.copy(tmp_path)
    refused(
        concat_here("train-con", "--run", run, "--set", f"con.segmentor.backbone={name}", cache=smoke.cache),
        f"{name!r} is a CLIP image tower",
    )
