"""The vocabularies of the package, by name."""

from pathlib import Path

SHIPPED = Path(__file__).parent


def shipped_vocabularies() -> list[str]:
    """Their names."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def vocabulary_path(name_or_path: str) -> Path:
    """The file of a shipped vocabulary, or one's own."""
    path = Path(name_or_path)
    return path if path.suffix else SHIPPED / f"{name_or_path}.toml"
