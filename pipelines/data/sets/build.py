"""The published data sets of label maps, by name, and where one lies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipelines.base.errors import ConcatError
from pipelines.data.sets.ade20k import ADE20K
from pipelines.data.sets.coco_stuff import COCO_STUFF
from pipelines.data.sets.context import CONTEXT
from pipelines.data.sets.layouts import Layout, Published, find_layout
from pipelines.data.sets.voc import VOC

DATA_SETS: Final[Mapping[str, Published]] = {
    "voc": VOC,
    "context": CONTEXT,
    "coco-stuff": COCO_STUFF,
    "ade20k": ADE20K,
}


def find_data_set(name: str, root: Path) -> Layout:
    """Where a published data set lies in a folder, or in the folder that it was unpacked into.

    Raises:
        ConcatError: there is no such data set, or it is not there as it is published.
    """
    if name not in DATA_SETS:
        raise ConcatError(f"There is no data set {name!r}.", mend=f"There are {', '.join(DATA_SETS)}, and own.")
    return find_layout(name, DATA_SETS[name], root)
