"""What a plan says before a run has begun: images, sizes, disks."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from pipelines.base.errors import ConcatError
from pipelines.base.files import write_json
from pipelines.base.progress import SilentReporter
from pipelines.clip.model_files import embedding_dim
from pipelines.clip.settings import ClipSettings
from pipelines.clip.store_size import store_bytes
from pipelines.generators.dump_size import dump_bytes
from pipelines.recipes.load import load_recipe
from pipelines.runs.run import Run
from pipelines.stages import evaluate
from pipelines.stages.chain import chain
from pipelines.stages.counts import Images
from pipelines.stages.plan import Plan, Planned, plan_of, with_disks
from pipelines.stages.plan_details import EVAL_SHARD, Details, Written


def _run(folder: Path, recipe: str, *settings: str) -> Run:
    return Run(folder / "run", load_recipe(recipe, settings), folder / "cache", SilentReporter())


def _plan(run: Run, target: str = "eval", *, force: bool = False) -> Plan:
    return plan_of(run, chain(run.recipe), target, force=force)


def _named(plan: Plan) -> dict[str, Planned]:
    return {stage.name: stage for stage in plan.stages}


def test_a_run_of_the_embedded_world_is_known_before_it_begins(tmp_path: Path) -> None:
    stages = _named(_plan(_run(tmp_path, "smoke")))
    assert list(stages) == [stage.name for stage in chain(load_recipe("smoke"))]
    assert {stage.why for stage in stages.values()} == {"not run yet"}
    images = stages["train-con"].details.images
    assert images is not None
    assert images.segments is not None
    assert images.how == "estimated"
    assert 0 < images.count < 160
    tokens, queries = stages["precompute"].details.writes[0], stages["dump-queries"].details.writes[0]
    assert tokens.size == store_bytes(images.count, images.segments, dim=128, views=1)
    assert queries.size == dump_bytes(images.count, queries=20, dim=64, shard=4096)
    assert stages["eval"].details.images == Images(32, None, "estimated")
    assert not list(tmp_path.iterdir())


def test_more_scenes_than_are_looked_at_are_told_in_proportion(tmp_path: Path) -> None:
    few = _named(_plan(_run(tmp_path, "smoke", "data.micrococo.train=256")))["train-con"].details.images
    many = _named(_plan(_run(tmp_path, "smoke", "data.micrococo.train=25600")))["train-con"].details.images
    assert few is not None
    assert many is not None
    assert few.segments is not None
    assert (many.count, many.segments) == (100 * few.count, 100 * few.segments)


def test_two_views_take_twice_the_room(tmp_path: Path) -> None:
    both = ("clip.flipped_view=true", 'dump.views=["plain", "flipped"]')
    stages = _named(_plan(_run(tmp_path, "smoke", *both)))
    images = stages["precompute"].details.images
    assert images is not None
    assert stages["dump-queries"].details.writes[0].size == dump_bytes(2 * images.count, queries=20, dim=64, shard=4096)
    assert stages["precompute"].details.writes[0].size == store_bytes(
        images.count, images.segments or 0, dim=128, views=2
    )


def test_without_a_data_set_images_are_unknown_and_steps_are_not(tmp_path: Path) -> None:
    stages = _named(_plan(_run(tmp_path, "concat_zps")))
    assert stages["precompute"].details.images is None
    assert stages["precompute"].details.writes[0].size is None
    assert stages["train-con"].details.steps == 140350


def test_only_what_a_target_needs_is_planned(tmp_path: Path) -> None:
    assert list(_named(_plan(_run(tmp_path, "smoke"), "precompute"))) == ["make-micrococo", "split-coco", "precompute"]
    with pytest.raises(ConcatError, match="no stage nothing"):
        _plan(_run(tmp_path, "smoke"), "nothing")


def test_a_disk_must_hold_what_lasts_and_what_a_stage_holds_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stage(*writes: Written) -> Planned:
        return Planned("a", "missing", "", Details(writes=writes))

    stages = (
        stage(Written("tokens", "cache", 100, there=30)),
        stage(Written("model", "run", 10), Written("checkpoint", "run", 50, lasts=False)),
        stage(Written("model", "run", 5), Written("checkpoint", "run", None, lasts=False)),
    )
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=129))
    plan = with_disks(_run(tmp_path, "smoke"), stages)
    assert [(disk.places, disk.needed, disk.fits) for disk in plan.disks] == [(("cache", "run"), 130, False)]
    with pytest.raises(ConcatError, match="need 1 KiB, but 1 KiB are free") as caught:
        plan.check_room()
    assert caught.value.file == tmp_path / "cache"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=130))
    with_disks(_run(tmp_path, "smoke"), stages).check_room()


def test_a_dump_that_was_interrupted_is_partly_there(tmp_path: Path) -> None:
    run, made_from = _run(tmp_path, "smoke"), {"seed": 0, "settings": {"a": 1}}
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    write_json(run.folder / ".dump.partial/key.json", made_from | {"forced": False})
    write_json(run.cache / "queries" / key / "000.h5", "x" * 997)
    (queries,) = _named(_plan(run))["dump-queries"].details.writes
    assert queries.there == 1000
    assert queries.size is not None
    assert queries.needed == queries.size - 1000


@pytest.mark.parametrize("inner", [False, True])
def test_label_maps_are_counted_but_for_zips_in_zips(inner: bool, tmp_path: Path) -> None:
    for name, suffix in (("images", "jpg"), ("labels", "png")):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for number in range(3):
                archive.writestr(f"{number}.{suffix}", b"")
            archive.writestr("more.zip", b"")
    labels = tmp_path / "labels.zip" / ("more.zip" if inner else "")
    given = (f'data.images="{tmp_path / "images.zip"}"', f'data.labels="{labels}"')
    images = _named(_plan(_run(tmp_path, "concat_zss", *given)))["precompute"].details.images
    assert images == (None if inner else Images(3, None, "at most"))


def test_evaluation_keeps_shards_of_as_many_images_as_is_planned() -> None:
    assert evaluate.CHUNK == EVAL_SHARD


@pytest.mark.parametrize(("model", "dim"), [("micrococo", 128), ("ViT-B-16-quickgelu", 512), ("none such", None)])
def test_the_width_of_clip_is_read_from_its_config(model: str, dim: int | None, tmp_path: Path) -> None:
    assert embedding_dim(ClipSettings(model=model)) == dim
    (tmp_path / "own.json").write_text('{"model_cfg": {"embed_dim": 7}}')
    assert embedding_dim(ClipSettings(model=str(tmp_path / "own.json"))) == 7
