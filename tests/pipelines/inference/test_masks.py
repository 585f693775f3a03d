import torch
from torch.nn.functional import interpolate

from pipelines.inference.masks import Padding, resize_masks


def test_resizing_is_bilinear_between_pixel_centres() -> None:
    logits = torch.tensor([[[0.0, 4.0]]])
    assert torch.allclose(resize_masks(logits, (1, 4)), torch.tensor([[[0.0, 1.0, 3.0, 4.0]]]).sigmoid())
    assert resize_masks(torch.zeros(0, 2, 2), (3, 5)).shape == (0, 3, 5)


def test_padding_is_cut_before_the_picture_is_filled() -> None:
    # An input 8 px square, stride 4, of which the upper left 4×6 is picture; the picture itself is 8×12.
    logits = torch.tensor([[[5.0, -5.0], [99.0, 99.0]]])
    padded = interpolate(logits[None], size=(8, 8), mode="bilinear", align_corners=False)[0]
    expected = interpolate(padded[None, :, :4, :6], size=(8, 12), mode="bilinear", align_corners=False)[0].sigmoid()
    assert torch.equal(resize_masks(logits, (8, 12), Padding(input=(8, 8), content=(4, 6))), expected)
