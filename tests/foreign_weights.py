"""Our segmentors' weights under foreign names, by the tables read backwards, as a foreign file would hold them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipelines.segmentors.build import build_segmentor
from pipelines.segmentors.foreign.layout import ENCODER, BackboneLayout, SegmentorLayout
from pipelines.segmentors.foreign.table import QKV, Table
from pipelines.segmentors.foreign.transformers_layout import settled
from pipelines.segmentors.mask2former_settings import Mask2FormerSettings
from pipelines.segmentors.maskformer_settings import MaskFormerSettings

COMMON = {
    "backbone": "resnet18", "backbone_weights": "none", "hidden_dim": 32, "feedforward_dim": 48, "queries": 7,
    "decoder_layers": 2, "heads": 4, "batch_norm": "trained",
}  # fmt: skip
SMALL = {
    "mask2former": Mask2FormerSettings(encoder_feedforward_dim=40, encoder_layers=2, **COMMON),
    "maskformer": MaskFormerSettings(**COMMON),
}
RGB = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def small(kind: str, seed: int = 0, **changes: object) -> nn.Module:
    """A segmentor whose norms are not those of a fresh one, so that forgetting or exchanging them shows."""
    torch.manual_seed(seed)
    segmentor = build_segmentor(SMALL[kind].model_copy(update=changes)).eval()
    with torch.no_grad():
        for name, value in segmentor.state_dict().items():
            if name.endswith(("running_mean", "bias")):
                value.normal_(0, 0.2)
            elif value.dim() == 1 and value.is_floating_point():
                value.uniform_(0.5, 1.5)
    return segmentor


def images(seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=random)


def same(first: nn.Module, second: nn.Module) -> bool:
    """Whether two segmentors give equal queries and masks, layer by layer."""
    with torch.no_grad():
        one, other = first(images()), second(images())
    pairs = zip([*one.queries, *one.mask_logits], [*other.queries, *other.mask_logits], strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def backbone_names(state: Mapping[str, Tensor], layout: BackboneLayout, prefix: str = "") -> dict[str, Tensor]:
    """A timm network's weights by the names of a layout."""
    backwards = Table(tuple((ours, theirs) for theirs, ours in layout.rows), same=("",))
    named, _ = backwards.to_ours(state)
    return {prefix + name: value.clone() for name, value in named.items()}


def foreign_names(
    segmentor: nn.Module, kind: str, layout: SegmentorLayout, backbone: BackboneLayout, *, counters: bool = True
) -> dict[str, Tensor]:
    """A segmentor's weights by the names of a layout; every one has a name there.

    Args:
        counters: whether the format keeps the counters of batch norms.
    """
    state = {settled(name): value for name, value in segmentor.state_dict().items()}
    net = f"{ENCODER}.net."
    inside = {name.removeprefix(net): value for name, value in state.items() if name.startswith(net)}
    if not counters:
        inside = {name: value for name, value in inside.items() if not name.endswith("num_batches_tracked")}
    heads = {n: v for n, v in state.items() if not n.startswith((net, f"{ENCODER}.mean", f"{ENCODER}.std"))}
    table = layout.kinds[kind][1]
    packed = _packed(heads, table)
    rest = {name: v for name, v in heads.items() if not any(name in names for _, names in packed.values())}
    backwards = Table(tuple((ours, theirs) for theirs, ours in table.rows), same=table.same)
    named, origin = backwards.to_ours(rest)
    assert set(origin.values()) == set(rest), set(rest) - set(origin.values())
    named |= {name: value for name, (value, _) in packed.items()}
    return {name: value.clone() for name, value in named.items()} | backbone_names(
        inside, backbone, layout.backbone[-1]
    )


def _packed(heads: Mapping[str, Tensor], table: Table) -> dict[str, tuple[Tensor, list[str]]]:
    """Their packed name → its matrix or vector, and the three names of ours in it."""
    attention = Table(tuple((ours, theirs) for theirs, ours in table.packed))
    found = {}
    for name in heads:
        module, _, leaf = name.rpartition(f".{QKV[0]}.")
        theirs = next(iter(attention.to_ours({module: 0})[0]), None) if leaf else None
        if theirs is not None:
            names = [f"{module}.{x}.{leaf}" for x in QKV]
            found[f"{theirs}.in_proj_{leaf}"] = torch.cat([heads[n] for n in names]), names
    return found
