"""The method of CONCAT: data, CLIP, segmentors, losses, generators, metrics, and the stages that join them."""
