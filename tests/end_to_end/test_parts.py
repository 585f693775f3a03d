"""A generator from outside the package, in a run: chosen, trained, finetuned on, and stale once its file changes."""

import shutil
from pathlib import Path

from concat_command import FinishedRun, concat_here, refused

from pipelines.runs.manifest import read_manifest

TOY = Path(__file__).parents[1] / "parts/toy_generator.py"


def test_a_generator_of_ones_own_is_trained_finetuned_on_and_watched(smoke: FinishedRun, tmp_path: Path) -> None:
    run = smoke.copy(tmp_path, "cat", "finetune", "eval")
    own = Path(shutil.copy(TOY, tmp_path / "own.py"))
    chosen = ("--set", f"cat.generator.kind={own}:TOY", "--set", "cat.generator.noise=0.2")
    assert "cat.generator.noise = 0.5" in concat_here("train-cat", *chosen, "--help", cache=smoke.cache).stdout
    assert concat_here("train-cat", "--run", run, *chosen, cache=smoke.cache).returncode == 0
    made = read_manifest(run / "cat/manifest.json")
    assert made.settings["cat"]["generator"] == {"kind": f"{own}:TOY", "noise": 0.2}
    assert {"mmd", "contrast", "supervision"} < set(made.metrics)
    assert concat_here("finetune", "--run", run, cache=smoke.cache).returncode == 0
    own.write_text(own.read_text() + "\n# another thought\n")
    shown = concat_here("status", run, "--json", cache=smoke.cache).stdout
    assert "input code of cat.generator changed" in shown
    own.unlink()
    refused(concat_here("status", run, cache=smoke.cache), "The file of a part is missing", str(own))
