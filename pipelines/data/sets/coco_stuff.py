"""COCO-Stuff 164k, whose label maps come for COCO 2017's images."""

from typing import Final

from pipelines.data.sets.layouts import Place, Published


def _part(name: str) -> Place:
    maps = ("stuffthingmaps_trainval2017", "stuffthingmaps_trainval2017.zip", "stuffthingmaps", "annotations")
    return Place((name, f"{name}.zip", f"images/{name}", f"images/{name}.zip"), tuple(f"{m}/{name}" for m in maps))


COCO_STUFF: Final = Published(
    vocabulary="coco_stuff",
    ignored=(255,),  # unlabelled
    roots=("", "coco"),
    train=(_part("train2017"),),
    val=(_part("val2017"),),
)
