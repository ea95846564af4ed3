"""What is watched beside the contrastive loss; the losses themselves are fused ops."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def positive_cosine(z: Tensor) -> Tensor:
    """Mean cosine between the two views of each image: 1 when they agree, 0 when unrelated.

    Args:
        z: (2N,D), row i pairs with row i + N.

    Returns:
        Scalar, without gradient.
    """
    first, second = z.detach().chunk(2)
    return F.cosine_similarity(first, second).mean()
