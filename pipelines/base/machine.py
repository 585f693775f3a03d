"""The machine a run computes on, as far as runs depend on it: each fact with what it means for them."""

import os
import platform
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pipelines.base.disk import free_bytes, nearest_existing
from pipelines.base.listings import Listings
from pipelines.base.parallel import usable_cores

State = Literal["good", "poor", "broken"]

PACKAGES: Final = (
    "torch", "torchvision", "transformers", "timm", "open_clip_torch", "lightning-fabric", "numpy", "scipy", "h5py",
    "zarr", "pycocotools", "pydantic", "typer", "rich", "msgspec", "numba", "matplotlib", "scikit-learn",
)  # fmt: skip
_GIB: Final = 2**30
_LITTLE_DISK: Final = 10 * _GIB
_LITTLE_MEMORY: Final = 6 * _GIB


class Fact(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: what it is.
        state: "good"; "poor" where something will not work or will be slow; "broken" where nothing will work.
        found: what was found.
        means: what that means for runs, and what mends it; empty if it needs no word.
    """

    name: str
    state: State
    found: str
    means: str = ""


def look_around(cache: Path, *, network: bool = True) -> list[Fact]:
    """All facts; torch is imported to ask for its devices, and the hub is asked for its address alone."""
    facts = [_python(), *_packages(), *_devices(), _cores(), _memory(), _disk(cache), _cache(cache), _font()]
    facts.append(_compiled_reader())
    return [*facts, _hub()] if network else facts


def _python() -> Fact:
    return Fact("Python", "good", f"{sys.version.split()[0]} on {platform.platform()}")


def _packages() -> list[Fact]:
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    facts = [Fact("concat", "good", _own_version()), Fact("packages", "good", ", ".join(versions))]
    if missing:
        facts.append(Fact("missing", "broken", ", ".join(missing), "Install the package again: pip install ."))
    return facts


def _own_version() -> str:
    try:
        return metadata.version("concat-zeroshot")
    except metadata.PackageNotFoundError:
        return "not installed: run from its source tree"


def _devices() -> list[Fact]:
    if find_spec("torch") is None:
        return []
    import torch

    kinds = {"CUDA": torch.version.cuda, "ROCm": torch.version.hip}
    kind = next((f"{name} {version}" for name, version in kinds.items() if version), "CPU")
    build = Fact("torch build", "good", f"{torch.__version__}, made for {kind}")
    if not torch.cuda.is_available():
        why = "its driver was not found" if torch.version.cuda else "this torch is made without"
        means = "The embedded world takes about 9 minutes on two cores; training at paper scale needs a GPU."
        return [build, Fact("GPU", "poor", f"none that torch can use: {why}", means)]
    devices = []
    for number in range(torch.cuda.device_count()):
        known = torch.cuda.get_device_properties(number)
        devices.append(Fact(f"cuda:{number}", "good", f"{known.name}, {known.total_memory / _GIB:.0f} GiB"))
    return [build, *devices]


def _cores() -> Fact:
    return Fact("cores", "good", f"{usable_cores()} of {os.cpu_count()} may be used")


def _memory() -> Fact:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    little = total < _LITTLE_MEMORY
    means = "A run of the embedded world takes about 2 GiB." if little else ""
    return Fact("memory", "poor" if little else "good", f"{total / _GIB:.0f} GiB", means)


def _disk(cache: Path) -> Fact:
    free = free_bytes(cache)
    little = free < _LITTLE_DISK
    means = "The CLIP store and the query dump of COCO take some GB; give --cache a larger disk." if little else ""
    return Fact("disk", "poor" if little else "good", f"{free / _GIB:.0f} GiB free where the cache lies", means)


def _cache(cache: Path) -> Fact:
    where = str(cache.resolve())
    if not os.access(nearest_existing(cache), os.W_OK):
        return Fact("cache", "broken", f"{where} cannot be written to", "Give --cache, or set CONCAT_CACHE.")
    if not cache.is_dir():
        return Fact("cache", "good", f"{where}, to be made")
    return Fact("cache", "good", f"{where}, {Listings().size(cache) / _GIB:.1f} GiB")


def font_folder() -> Path:
    """Where matplotlib keeps its fonts; to import it for that takes longer than to draw with them."""
    package = find_spec("matplotlib")
    assert package is not None  # a dependency
    assert package.origin is not None
    return Path(package.origin).parent / "mpl-data/fonts/ttf"


def _font() -> Fact:
    font = font_folder() / "DejaVuSans.ttf"
    if font.is_file():
        return Fact("font", "good", str(font))
    return Fact("font", "broken", f"{font} is missing", "Overlays need it: install matplotlib again.")


def _compiled_reader() -> Fact:
    """Whether numba can keep the PNG reader that it compiles for panoptic scoring."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(given) if given else Path(__file__).parents[1]
    if os.access(nearest_existing(folder), os.W_OK):
        return Fact("PNG reader", "good", f"compiled once, kept below {folder}")
    means = "It is kept in the user's cache folder if there is one, else compiled anew by every command (some seconds)."
    return Fact("PNG reader", "poor", f"{folder} cannot be written to", means)


def _hub() -> Fact:
    """Whether weights can be downloaded; huggingface_hub says from where, and whether it was told not to."""
    from urllib.error import URLError
    from urllib.request import urlopen

    from huggingface_hub import constants

    means = "Without it, give --set clip.pretrained=FILE and --set con.segmentor.backbone_weights=FILE."
    if constants.HF_HUB_OFFLINE:
        return Fact("network", "poor", "HF_HUB_OFFLINE is set", means)
    try:
        with urlopen(constants.ENDPOINT, timeout=5):
            return Fact("network", "good", "the Hugging Face hub answers")
    except (URLError, OSError, ValueError) as error:
        return Fact("network", "poor", f"the Hugging Face hub does not answer ({error})", means)
