"""The method of CONCAT as plain parts: data, CLIP, segmentors, losses, generators, metrics, and the stages that join them."""
