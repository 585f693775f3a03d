"""PASCAL VOC 2012, of which SBD's label maps are the larger training set."""

from typing import Final

from pipelines.data.sets.layouts import Place, Published

VOC: Final = Published(
    vocabulary="voc20",
    ignored=(0, 255),  # background, border
    roots=("", "VOC2012", "VOCdevkit/VOC2012"),
    train=(
        Place.of_voc("SegmentationClassAug", "Segmentation/trainaug"),
        Place.of_voc("SegmentationClass", "Segmentation/train"),
        Place.of_voc("SegmentationClassAug", "Segmentation/train"),
    ),
    val=(
        Place.of_voc("SegmentationClass", "Segmentation/val"),
        Place.of_voc("SegmentationClassAug", "Segmentation/val"),
    ),
)
