"""Pages that are made from the code, or stand at the root of the repository, as the site is built."""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from reference import commands_page, settings_page  # noqa: E402

AT_THE_ROOT = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "architecture.md": "ARCHITECTURE.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    pages = {"commands.md": commands_page(), "settings.md": settings_page()}
    pages |= {name: _moved((ROOT / source).read_text(encoding="utf-8")) for name, source in AT_THE_ROOT.items()}
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def _moved(text: str) -> str:
    """Links of a file at the root, as seen from the folder of the pages."""
    text = text.replace("](docs/", "](")
    for name, source in AT_THE_ROOT.items():
        text = text.replace(f"]({source})", f"]({name})")
    return text
