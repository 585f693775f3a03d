"""From a template and its values to one HTML file."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.base.files import write_text
from pipelines.report.words import FIGURES, percent
from pipelines.runs.manifest import package_versions
from pipelines.vocabularies.vocabulary import clean_name


def write_page(path: Path, template: str, values: dict[str, Any]) -> None:
    """Renders a template of this package and writes it atomically; nothing in the page is loaded from elsewhere."""
    environment = Environment(
        loader=PackageLoader("pipelines.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "clean": clean_name, "figure": lambda name: FIGURES.get(name, name)}
    version = package_versions().get("concat-zeroshot", "")
    write_text(path, environment.get_template(template).render(version=version, **values))
