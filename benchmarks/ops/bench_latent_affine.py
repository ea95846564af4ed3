"""``latent_affine``: eager chains of PyTorch are what it replaces."""

import torch
from torch import Tensor

from benchmarks.comparison import OURS, Case, Comparison, Inputs, Provider
from pyhandpose import ops, reference
from pyhandpose.testing.inputs import latents, view_affines

NUM_POINTS = 64


def inputs(size: int) -> Inputs:
    """(B,64,2) latents and (B,2,3) affines."""
    latent = latents(size, NUM_POINTS).float()
    return Inputs((latent,), (view_affines(size, seed=1).float(),))


def lean_chain(latent: Tensor, affine: Tensor) -> Tensor:
    """(B,P,2), (B,2,3) -> (B,P,2): the paper's equation in as few torch calls as it takes.

    The inverse of 2x2 by its formula: ``torch.linalg.inv`` is slower for small matrices.
    """
    flat = latent.flatten(1)
    extent = (flat.amax(1) - flat.amin(1))[:, None, None]
    (a, b, _), (c, d, _) = (row.unbind(1) for row in affine.unbind(1))
    transposed = torch.stack([d, -c, -b, a], 1).unflatten(1, (2, 2))  # of the adjugate
    inverse_t = transposed / (a * d - b * c)[:, None, None]
    return (latent - affine[:, None, :, 2] * extent) @ inverse_t


COMPARISON = Comparison(
    op="latent_affine",
    letter="B",
    growth=1,
    inputs=inputs,
    exact=lambda case: lambda *tensors: (reference.latent_affine(*tensors),),
    cases=tuple(
        Case(size, passes)
        for size in (1, 64, 1024, 4096, 65_536, 1_048_576)
        for passes in ("forward", "forward+backward")
    ),
    providers=(
        Provider(OURS, lambda case: lambda *tensors: (ops.latent_affine(*tensors),)),
        Provider("eager, lean", lambda case: lambda *tensors: (lean_chain(*tensors),)),
        Provider(
            "eager, reference", lambda case: lambda *tensors: (reference.latent_affine(*tensors),)
        ),
    ),
    exact_up_to=4096,
    grows_from=4096,
    note="64 points; convention `paper`.",
)
