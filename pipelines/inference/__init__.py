"""From class probabilities and mask logits to predictions: panoptic, semantic, instance (method.md, "Inference")."""
