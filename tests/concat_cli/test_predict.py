import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from PIL import Image
from trained_world import random_model
from typer.testing import CliRunner

from concat_cli.commands.export import export
from concat_cli.commands.predict import predict
from pipelines.data.formats.coco_panoptic import read_panoptic
from pipelines.predict.bundle import write_bundle
from pipelines.predict.segmenter import Segmenter

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "model.concat"
    write_bundle(path, random_model())
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(("a.png", "b.jpg", "sub/a.png", "c.png")):
        pixels = np.random.default_rng(number).integers(0, 256, (3, 4, 3), np.uint8)
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).resize((96, 72), Image.Resampling.NEAREST).save(folder / name)
    return folder


@pytest.fixture
def command() -> Command:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("predict")(predict)
    app.command("export")(export)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)

    return run


def test_a_folder_becomes_overlays_tables_and_the_official_form(
    command: Command, bundle: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shown = command("predict", photos, "--run", bundle, "--out", out, "--batch-size", 2, "--device", "cpu")
    assert shown.exit_code == 0, shown.output
    assert "4 images in" in shown.stdout
    assert "img/s" in shown.stdout
    listed = read_panoptic(out / "panoptic.json")
    assert [image.file_name for image in listed.images] == ["a.png", "b.jpg", "c.png", "sub/a.png"]
    for name in ("a", "b", "c", "sub/a"):
        with Image.open(out / f"overlays/{name}.png") as overlay, Image.open(out / f"panoptic/{name}.png") as ids:
            assert (max(overlay.size), ids.size) == (432, (96, 72))
        with open(out / f"tables/{name}.csv", newline="") as file:
            assert next(csv.reader(file))[:3] == ["id", "name", "kind"]
    again = command("predict", photos, "--run", bundle, "--out", photos / "predictions")
    assert again.exit_code == 0
    assert "4 images in" in command("predict", photos, "--run", bundle, "--out", photos / "predictions").stdout
    shutil.rmtree(photos / "predictions")


def test_few_images_tables_are_shown_and_options_reach_the_segmenter(
    command: Command, bundle: Path, photos: Path, tmp_path: Path
) -> None:
    names = "red circle, plain green ground, turquoise heart; teal heart"
    options = ("--vocabulary", names, "--threshold", 0, "--setting", "inductive", "--increment", 2, "--max-side", 48)
    options = (*options, "--task", "instance")
    shown = command("predict", photos / "a.png", "--run", bundle, "--out", tmp_path, *options)
    assert shown.exit_code == 0, shown.output
    expected = Segmenter.load(bundle).predict(
        photos / "a.png", names, task="instance", threshold=0.0, setting="inductive", increment=2.0, max_side=48
    )
    with open(tmp_path / "tables/a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], int(row["area"])) for row in rows] == [(row.name, row.area) for row in expected.table()]
    assert rows
    for row in rows:
        assert f"★ {row['name']}" in shown.stdout


@pytest.mark.parametrize(
    ("task", "files"), [("semantic", ["semantic", "semantic.json"]), ("instance", ["images.json", "instances.json"])]
)
def test_every_task_has_its_own_files(
    command: Command, bundle: Path, photos: Path, tmp_path: Path, task: str, files: list[str]
) -> None:
    assert command("predict", photos / "*.png", "--run", bundle, "--out", tmp_path, "--task", task).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*files, "overlays", "tables"])


def test_json_is_json_alone(command: Command, bundle: Path, photos: Path, tmp_path: Path) -> None:
    found = json.loads(
        command("predict", photos, "--run", bundle, "--out", tmp_path, "--threshold", 0, "--json").stdout
    )
    assert [Path(image["file"]).name for image in found["images"]] == ["a.png", "b.jpg", "c.png", "a.png"]
    assert found["images"][3]["name"] == "sub/a"
    assert found["failed"] == []
    assert found["images_per_second"] > 0
    assert set(found["images"][0]["segments"][0]) >= {"name", "unseen", "score", "area", "x"}


def test_a_bad_image_is_named_and_the_others_go_on(
    command: Command, bundle: Path, photos: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(photos, tmp_path / "in"))
    (folder / "aa.jpg").write_bytes((folder / "b.jpg").read_bytes()[:200])
    (folder / "notes.png").write_text("no picture")
    shown = command("predict", folder, folder / "missing.png", "--run", bundle, "--out", tmp_path / "out")
    assert shown.exit_code == 2
    assert "Error  3 of 7 images cannot be used; the others are done." in shown.stderr
    for name in ("aa.jpg", "notes.png", "missing.png"):
        assert f"{folder / name}: Image not readable" in shown.stderr.replace("\n", "")
    assert "4 images in" in shown.stdout
    listed = read_panoptic(tmp_path / "out/panoptic.json")
    assert [image.file_name for image in listed.images] == ["a.png", "b.jpg", "c.png", "sub/a.png"]
    alone = command("predict", folder / "aa.jpg", "--run", bundle, "--out", tmp_path / "none")
    assert alone.exit_code == 2
    assert "1 of 1 images cannot be used." in alone.stderr
    assert not (tmp_path / "none").exists()


def test_mistakes_are_one_message_and_leave_nothing(
    command: Command, bundle: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for arguments, phrase in (
        ([tmp_path / "*.jpg", "--run", bundle], "No images found"),
        ([photos, "--run", photos], "Neither a run directory nor an exported model"),
        ([photos, "--run", photos / "a.png"], "Not an exported model"),
        ([photos, "--run", bundle, "--vocabulary", "cow, cow"], "stands twice"),
        ([photos, "--run", bundle, "--vocabulary", "nowhere.toml"], "Vocabulary not found"),
        ([photos, "--run", bundle, "--vocabulary", "a " + "very " * 30 + "long name"], "longer than what CLIP reads"),
        ([photos, "--run", bundle, "--task", "semantic", "--threshold", 0.5], "no threshold"),
        ([photos, "--run", bundle, "--device", "abacus"], "Unknown device"),
    ):
        shown = command("predict", *arguments, "--out", out)
        assert shown.exit_code == 2, phrase
        assert phrase in shown.stderr
        assert shown.stderr.startswith("Error  ")
        assert not out.exists()


def test_an_export_is_not_overwritten_unasked(command: Command, bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "again.concat"
    shown = command("export", bundle, target)
    assert shown.exit_code == 0, shown.output
    assert "36 names, the finetuned projector" in shown.stdout
    assert "--with-clip packs it" in shown.stdout
    assert target.read_bytes() == bundle.read_bytes()
    refused = command("export", bundle, target, "--with-clip")
    assert refused.exit_code == 2
    assert "there already" in refused.stderr
    assert target.read_bytes() == bundle.read_bytes()
    assert command("export", bundle, target, "--with-clip", "--force").exit_code == 0
    assert target.stat().st_size > bundle.stat().st_size
    assert command("predict", "--help").exit_code == command("export", "--help").exit_code == 0
