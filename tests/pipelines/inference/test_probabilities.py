import torch

from pipelines.inference.probabilities import class_probabilities


def test_the_increment_goes_to_unseen_logits_alone() -> None:
    logits = torch.tensor([[0.0, -1.0], [2.0, -3.0]])
    probabilities = class_probabilities(logits, torch.tensor([False, True]), 1.0)
    assert torch.allclose(probabilities, torch.tensor([[0.5, 0.5], [0.8808, 0.1192]]), atol=1e-4)
    assert torch.equal(class_probabilities(logits, torch.tensor([False, True]), 0.0), logits.sigmoid())
