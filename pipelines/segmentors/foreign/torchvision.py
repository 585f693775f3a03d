"""torchvision's residual networks, whose names timm took over; and any other backbone in timm's own names."""

from pipelines.segmentors.foreign.layout import BackboneLayout

CLASSIFIER = ("fc.", "head.", "classifier.", "norm.")
"""What the names of a classifier begin with that a feature extractor does not need."""

TORCHVISION = BackboneLayout(name="timm or torchvision", holds=lambda _: True, left=CLASSIFIER)
