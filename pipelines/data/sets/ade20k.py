"""ADE20K, the 150 categories of its scene parsing challenge."""

from typing import Final

from pipelines.data.sets.layouts import Place, Published

ADE20K: Final = Published(
    vocabulary="ade150",
    ignored=(0,),  # other
    roots=("", "ADEChallengeData2016", "ADEChallengeData2016.zip"),
    train=(Place(("images/training",), ("annotations/training",)),),
    val=(Place(("images/validation",), ("annotations/validation",)),),
)
