import torch

from pyhandpose.losses.contrastive import positive_cosine


def test_the_cosine_of_the_pairs_is_averaged():
    z = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0], [-3.0, 0.0]], requires_grad=True)
    cosine = positive_cosine(z)  # rows 0, 2 agree; rows 1, 3 are orthogonal
    assert cosine.item() == 0.5
    assert not cosine.requires_grad
