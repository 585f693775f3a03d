import pickle
from pathlib import Path

import numpy as np
import pytest
from panoptic_world import OTHER_THING, STUFF, THING, UNSEEN, VOCABULARY, World, segment, write_world
from PIL import Image
from shared_data import shared_data

from pipelines.data.checks.check import DataReport, check_images
from pipelines.data.files.archives import open_files
from pipelines.data.formats.panoptic_images import open_panoptic_images
from pipelines.data.formats.panoptic_png import write_panoptic_png
from pipelines.vocabularies.vocabulary import load_vocabulary

PLAIN = np.repeat(np.array([[5, 6]], np.int32), 12, axis=0).repeat(6, axis=1)  # 12×12: halves of 72 px


def plain_segments() -> list[dict]:
    return [segment(5, THING, area=72), segment(6, STUFF, area=72)]


def world_of(root: Path, count: int) -> World:
    return write_world(root, {image_id: (PLAIN, plain_segments()) for image_id in range(1, count + 1)})


def check(world: World, **options) -> DataReport:
    data = open_panoptic_images(world.annotations, world.images, world.png, VOCABULARY)
    return check_images(data, images=open_files(world.images), vocabulary=VOCABULARY, **options)


def found(report: DataReport) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.examples for finding in report.findings if "category" not in finding.kind}


def test_a_sound_list_is_counted(tmp_path: Path) -> None:
    crowded = [segment(5, THING, area=72), segment(6, THING, area=72, iscrowd=1)]
    world = write_world(tmp_path, {1: (PLAIN, plain_segments()), 2: (PLAIN, crowded)})
    report = check(world)
    assert (report.images, report.counted, report.decoded) == (2, 2, 2)
    rows = {c.id: (c.images, c.segments, c.crowd_segments, c.pixels) for c in report.categories}
    assert rows == {THING: (2, 3, 1, 216), STUFF: (1, 1, 0, 72), OTHER_THING: (0, 0, 0, 0), UNSEEN: (0, 0, 0, 0)}
    assert {finding.kind: finding.examples for finding in report.findings} == {
        "category without segment": ("dog",),
        "unseen category without segment": ("cow",),
    }
    assert report.sound


def test_each_planted_fault_is_found_and_none_ends_the_check(tmp_path: Path) -> None:
    listed = {image_id: (PLAIN, plain_segments()) for image_id in range(1, 10)}
    listed[8] = (PLAIN, [segment(5, THING, area=71), segment(6, STUFF, area=72)])
    listed[9] = (PLAIN, [segment(5, THING, area=0), segment(6, STUFF, area=72)])
    world = write_world(tmp_path, listed)
    image, png = (lambda n: world.images / f"{n:04d}.jpg"), (lambda n: world.png / f"{n:04d}.png")
    image(1).unlink()
    image(2).write_bytes(image(3).read_bytes()[:200])
    Image.new("RGB", (9, 12)).save(image(3))
    png(4).unlink()
    png(5).write_bytes(b"no picture")
    write_panoptic_png(png(6), np.where(PLAIN == 5, 7, PLAIN))
    write_panoptic_png(png(7), PLAIN[:6])
    Image.new("RGB", (12, 12)).save(world.images / "stray.jpg")
    (world.images / "notes.txt").write_text("no image")

    report = check(world)

    assert not report.sound
    examples = found(report)
    assert examples["missing image"] == ("0001.jpg",)
    assert [example.split(":")[0] for example in examples["unreadable image"]] == ["0002.jpg"]
    assert examples["other size"] == ("0003.jpg: 9×12 px, its labels 12×12",)
    assert [example.split(":")[0] for example in examples["unusable labels"]] == [f"000{n}.jpg" for n in (4, 5, 6, 7)]
    assert examples["other area"] == ("0008.jpg: segment 5 states 71 px, painted are 72",)
    assert examples["empty segment"] == ("0009.jpg: segment 5",)
    assert examples["unused image"] == ("stray.jpg",)
    assert set(examples) == {
        *("missing image", "unreadable image", "other size", "unusable labels"),
        *("other area", "empty segment", "unused image"),
    }
    assert (report.images, report.decoded) == (9, 8)


def test_kinds_of_images_are_counted_and_are_no_fault(tmp_path: Path) -> None:
    world = world_of(tmp_path, 6)
    image = lambda n: world.images / f"{n:04d}.jpg"  # noqa: E731
    Image.new("L", (12, 12)).save(image(1))
    Image.new("CMYK", (12, 12)).save(image(2))
    Image.new("RGBA", (12, 12)).save(image(3), format="PNG")
    Image.new("I;16", (12, 12)).save(image(4), format="PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 12)).save(image(5), exif=exif)
    report = check(world)
    assert report.sound
    assert found(report) == {
        "grey": ("0001.jpg",),
        "cmyk": ("0002.jpg",),
        "transparent": ("0003.jpg",),
        "grey16": ("0004.jpg",),
        "rotated": ("0005.jpg",),
    }


def test_many_faults_are_counted_and_some_are_named(tmp_path: Path) -> None:
    world = world_of(tmp_path, 30)
    for file in world.images.iterdir():
        file.unlink()
    (finding,) = (f for f in check(world).findings if f.kind == "missing image")
    assert (finding.count, len(finding.examples)) == (30, 20)
    assert finding.says == "30 image files are missing"


def test_only_so_many_files_are_decoded_unless_all_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.data.checks.check.DECODED", 3)
    world = world_of(tmp_path, 7)
    for number in (2, 7):
        (world.png / f"{number:04d}.png").write_bytes(b"damaged")
    assert check(world).decoded == 3
    assert [e.split(":")[0] for e in found(check(world))["unusable labels"]] == ["0007.jpg"]  # 1, 4 and 7 are looked at
    report = check(world, full=True)
    assert report.decoded == 7
    assert len(found(report)["unusable labels"]) == 2


def test_work_can_go_to_processes_of_which_few_images_need_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def pickled(function, items, *, workers: int):
        asked.append(workers)
        return map(pickle.loads(pickle.dumps(function)), items)

    monkeypatch.setattr("pipelines.data.checks.check.in_processes", pickled)
    monkeypatch.setattr("pipelines.data.checks.check._WORTH_A_PROCESS", 2)
    monkeypatch.setattr("pipelines.base.parallel.usable_cores", lambda: 64)
    world = world_of(tmp_path, 5)
    (world.images / "0003.jpg").write_bytes((world.images / "0002.jpg").read_bytes()[:300])
    reports = [check(world, workers=workers) for workers in (1, 2, 9)]
    assert reports[0] == reports[1] == reports[2]
    assert asked == [1, 2, 3]


def test_the_real_sample_is_sound() -> None:
    folder = shared_data("coco_panoptic_100train")
    vocabulary = load_vocabulary("coco_panoptic")
    png = folder / "annotations/panoptic_train2017"
    data = open_panoptic_images(png.with_suffix(".json"), folder / "train2017", png, vocabulary)
    report = check_images(data, images=open_files(folder / "train2017"), vocabulary=vocabulary)
    assert report.sound
    assert (report.images, report.decoded) == (100, 100)
    assert sum(c.segments for c in report.categories) == 1111
    assert sum(c.crowd_segments for c in report.categories) == 6
    assert sum(c.segments > 0 for c in report.categories) == 119
    assert found(report) == {"grey": ("000000000086.jpg",)}
