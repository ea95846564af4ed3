"""The equivariant contrastive loss: NT-Xent of latents whose augmentation has been undone."""

from torch import Tensor

from pyhandpose.reference.latent_affine import latent_affine
from pyhandpose.reference.nt_xent import nt_xent


def equivariant_nt_xent(
    z: Tensor, affine: Tensor, *, temperature: float = 0.5, convention: str = "paper"
) -> Tensor:
    """Twin of ``ops.equivariant_nt_xent``: (2N,2P), (2N,2,3) -> (). Source: 001 eq. 4 and 5."""
    latent = z.to(affine.dtype).unflatten(1, (-1, 2))  # (M,P,2), M = 2N
    aligned = latent_affine(latent, affine, convention=convention)  # (M,P,2)
    return nt_xent(aligned.flatten(1), temperature=temperature)
