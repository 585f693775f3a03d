"""The face: a Typer command-line over `pipelines`. What must be set before libraries are imported is set here."""

import os

# Two spinning OpenMP threads slow a step several times when another process is busy; read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for some, it reads every package's metadata
