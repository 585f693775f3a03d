"""The console script in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def run_concat(*arguments: object, cache: Path, timeout: float = 300, **environment: str
               ) -> subprocess.CompletedProcess[str]:
    """The console script in a process of its own, on two threads."""
    environ = {**os.environ, "CONCAT_CACHE": str(cache), "COLUMNS": "200", "PYTHONWARNINGS": "", **environment}
    command = [str(Path(sys.executable).with_name("concat")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environ, check=False)
