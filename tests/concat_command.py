"""The command `concat`, in a process of its own or in this one, and finished runs to try it on."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from typer.testing import CliRunner

from concat_cli.app import app
from pipelines.runs.manifest import RunManifest, write_manifest

CONCAT = str(Path(sys.executable).with_name("concat"))
Shown = subprocess.CompletedProcess[str]


def run_concat(*arguments: object, cache: Path, timeout: float = 300) -> Shown:
    """The console script in a process of its own."""
    command = [CONCAT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment(cache), check=False)


def concat_here(*arguments: object, cache: Path) -> Shown:
    """The same command in this process, which saves the seconds that importing takes; leaves torch as it was."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), sys.argv
    sys.argv = ["concat", *map(str, arguments)]
    try:
        result = CliRunner().invoke(app, sys.argv[1:], env=environment(cache), prog_name="concat")
        command = sys.argv
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        sys.argv = before[2]
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(command, result.exit_code, result.stdout, result.stderr)


def environment(cache: Path) -> dict[str, str]:
    """This process's environment, with a cache and without settings that would hide warnings."""
    return {**os.environ, "CONCAT_CACHE": str(cache), "PYTHONWARNINGS": ""}


def refused(shown: Shown, *phrases: str) -> None:
    """Checks that a command ended with one message that holds all phrases, and with exit code 2."""
    assert shown.returncode == 2, shown.stdout + shown.stderr
    lines = shown.stderr.splitlines()
    assert lines[0].startswith("Error  "), shown.stderr
    assert [line.split("  ")[0] for line in lines[1:]] in (["File", "Mend"], ["File"], ["Mend"]), shown.stderr
    for phrase in phrases:
        assert phrase in shown.stderr, shown.stderr


def forge(manifest: Path, change: Callable[[str], str]) -> None:
    """Changes a manifest's text and signs it anew, as someone would who means to."""
    content = json.loads(change(manifest.read_text()))
    write_manifest(manifest, RunManifest.model_validate(content | {"digest": ""}))


@dataclass(frozen=True)
class FinishedRun:
    """A run that is done and must not be changed; tests change copies.

    Attributes:
        shown: what the command that made it printed.
    """

    folder: Path
    cache: Path
    shown: Shown

    def copy(self, root: Path, *without: str) -> Path:
        """A copy that reads and writes the same cache, lacking the folders of some stages."""
        folder = Path(shutil.copytree(self.folder, root / "run"))
        for name in without:
            shutil.rmtree(folder / name)
        return folder

    def copy_scenes(self, root: Path) -> Path:
        """A new cache that holds the rendered scenes alone."""
        shutil.copytree(self.cache / "micrococo", root / "cache/micrococo")
        return root / "cache"
