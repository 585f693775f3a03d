"""Which parameters learn how fast, and which decay."""

from typing import Any

from torch import nn

from pipelines.segmentors.backbone import Backbone

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def parameter_groups(
    model: nn.Module, *, learning_rate: float, backbone_factor: float, weight_decay: float, decay_biases: bool
) -> list[dict[str, Any]]:
    """Groups the trainable parameters of a segmentor, or of a module that holds one, for AdamW.

    As Mask2Former does: the backbone learns `backbone_factor` times as fast; norms and embeddings do not decay. Neither
    do single numbers (a learned scale), nor, unless `decay_biases`, any vector.

    Returns:
        Groups with `name`, `params`, `lr` and `weight_decay`; empty ones left out. Every trainable parameter stands in
        exactly one, in the order of `model.named_parameters()`.
    """
    backbone = {id(p) for module in model.modules() if isinstance(module, Backbone) for p in module.parameters()}
    decaying = 1 if decay_biases else 2  # dimensions that a parameter must have
    still = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if isinstance(module, (*_NORMS, nn.Embedding)) or name.endswith("_embed") or parameter.ndim < decaying
    }
    groups: dict[str, dict[str, Any]] = {}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        in_backbone, decays = id(parameter) in backbone, id(parameter) not in still
        name = ("backbone" if in_backbone else "heads") + ("" if decays else "_without_decay")
        group = {
            "name": name,
            "params": [],
            "lr": learning_rate * (backbone_factor if in_backbone else 1.0),
            "weight_decay": weight_decay if decays else 0.0,
        }
        groups.setdefault(name, group)["params"].append(parameter)
    return list(groups.values())
