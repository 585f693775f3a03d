"""What is trained on top of a segmentor: projector, classifier, extractor."""
