"""Nothing in a finished run changes unnoticed: hundreds of damages, each of which verify must name."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.base.progress import SilentReporter
from pipelines.recipes.load import override, write_recipe
from pipelines.recipes.recipe import Recipe
from pipelines.runs.freshness import status
from pipelines.runs.run import Run, Stage, StageContext
from pipelines.runs.runner import bring_up_to_date
from pipelines.runs.verify import Verdict, verify

DAMAGES = 360
Damage = Callable[[bytes, random.Random], bytes]


def _work(context: StageContext) -> None:
    random_bytes = random.Random(context.stage).randbytes
    (context.out / "weights.safetensors").write_bytes(random_bytes(300))
    (context.out / "tables").mkdir()
    (context.out / "tables/one.csv").write_bytes(random_bytes(20))
    (context.out / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 0.5}) + "\n")
    (context.out / "tensorboard").mkdir()
    (context.out / "tensorboard/events").write_bytes(random_bytes(40))
    store = context.run.cache / f"{context.stage}.zarr"
    store.mkdir(parents=True)
    (store / "chunk").write_bytes(random_bytes(50))
    context.cached["store"] = store
    context.notes["names"] = ["tram; streetcar", "Ampelmännchen"]
    context.metrics["loss"] = 0.5


def _stage(name: str, folder: str) -> Stage:
    return Stage(
        name=name,
        folder=folder,
        version=1,
        work=_work,
        reads={"split-coco": ("weights.safetensors",)} if folder != "split" else {},
        sources=lambda _: {},
        settings=lambda recipe: {"con": recipe.con.that_matter()},
    )


CHAIN = [_stage("split-coco", "split"), _stage("train-con", "con")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("verify")
    run = Run(root / "run", Recipe(), root / "cache", SilentReporter())
    bring_up_to_date(run, CHAIN, "train-con")
    return run


def _flipped(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def _beheaded(content: bytes, draw: random.Random) -> bytes:
    return content[draw.randrange(1, len(content) + 1) :]


def _grown(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.choice([b" ", b"\n", b"0", b"\0", b"#"]) + content[place:]


def _swapped(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content) - 1)
    return content[:place] + content[place + 1 : place + 2] + content[place : place + 1] + content[place + 2 :]


def test_every_damage_is_named(finished: Run) -> None:
    files = sorted(p for root in (finished.folder, finished.cache) for p in root.rglob("*") if p.is_file())
    files = [path for path in files if not path.name.endswith(".lock")]
    assert verify(finished, CHAIN) == Verdict()
    draw, kinds = random.Random(0), [_flipped, _cut, _beheaded, _grown, _swapped]
    damaged = 0
    while damaged < DAMAGES:
        path, kind = files[damaged % len(files)], draw.choice(kinds)
        before = path.read_bytes()
        after = kind(before, draw)
        if after == before:
            continue
        path.write_bytes(after)
        found = verify(finished, CHAIN).wrong
        path.write_bytes(before)
        of_folder = next(name for name in (path.name, "tables", "tensorboard", "store") if name in " ".join(found))
        assert of_folder in path.as_posix() or of_folder == "store", (path, kind, found)
        assert len(found) == 1, (path, kind, found)
        damaged += 1
    assert verify(finished, CHAIN) == Verdict()


def test_what_is_removed_or_added_is_named(finished: Run) -> None:
    for path in sorted(p for p in finished.folder.rglob("*") if p.is_file() and p.name not in (".lock", "recipe.toml")):
        before = path.read_bytes()
        path.unlink()
        assert len(verify(finished, CHAIN).wrong) == 1, path
        path.write_bytes(before)
    stray = finished.folder / "con/left.txt"
    stray.write_text("x")
    assert verify(finished, CHAIN).wrong == [f"train-con: left.txt was added ({stray})"]
    stray.unlink()


def test_an_edited_recipe_is_named_until_a_command_writes_it(finished: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(finished.folder, tmp_path / "run")), Recipe(), finished.cache, SilentReporter())
    path = run.folder / "recipe.toml"
    path.write_text(path.read_text().replace("log_every = 20", "log_every = 21"))
    assert [state.state for state in status(run, CHAIN)] == ["fresh", "fresh"]
    assert verify(run, CHAIN).wrong == [f"recipe.toml is not as a command last wrote it ({path})"]
    write_recipe(path, override(Recipe(), ("con.log_every=21",)))
    assert verify(run, CHAIN) == Verdict()


def test_a_run_of_version_0_1_says_what_carries_no_digest(finished: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(finished.folder, tmp_path / "run")), Recipe(), finished.cache, SilentReporter())
    for stage in CHAIN:
        manifest = json.loads((run.folder / stage.folder / "manifest.json").read_text())
        del manifest["digest"], manifest["logs"]
        (run.folder / stage.folder / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 1}))
    recipe = run.folder / "recipe.toml"
    recipe.write_text(recipe.read_text().partition("\n")[2])
    assert [state.state for state in status(run, CHAIN)] == ["fresh", "fresh"]
    assert verify(run, CHAIN) == Verdict([], ["split/manifest.json", "con/manifest.json", "recipe.toml"])


def _copy(finished: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(finished.folder, tmp_path / "run")), Recipe(), finished.cache, SilentReporter())


def test_a_stage_besides_the_chain_is_verified_too(finished: Run, tmp_path: Path) -> None:
    run, path = _copy(finished, tmp_path), tmp_path / "run/eval-toys/weights.safetensors"
    bring_up_to_date(run, [*CHAIN, _stage("eval-toys", "eval-toys")], "eval-toys")
    assert verify(run, CHAIN) == Verdict()
    path.write_bytes(path.read_bytes()[:-1])
    assert verify(run, CHAIN).wrong == [f"eval-toys: weights.safetensors was changed ({path})"]


def test_what_a_kill_after_the_rename_leaves_is_nothing_added(finished: Run, tmp_path: Path) -> None:
    run = _copy(finished, tmp_path)
    (run.folder / "con/checkpoint.pt").write_bytes(b"steps")
    assert verify(run, CHAIN) == Verdict()


def test_a_recipe_of_ones_own_is_signed_with_its_remarks(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", override(Recipe(), ("seed=3",)), tmp_path / "cache", SilentReporter())
    run.folder.mkdir()
    path = run.folder / "recipe.toml"
    path.write_text("# mine\nseed = 3  # lucky\n")
    for remark in ("", "# more\n"):
        path.write_text(path.read_text() + remark)
        bring_up_to_date(run, CHAIN, "train-con")
        assert verify(run, CHAIN) == Verdict()
        assert path.read_text().partition("\n")[2] == "# mine\nseed = 3  # lucky\n" + remark
