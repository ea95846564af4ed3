"""latent_affine's CUDA kernels, their own source run on the host."""

import pytest
import torch

from pyhandpose import reference
from pyhandpose.testing.inputs import latents, view_affines
from pyhandpose.testing.tolerances import EXACT

CONVENTIONS = ["paper", "official", "direct"]
TOLERANCE = {
    torch.float64: EXACT,
    torch.float32: {"rtol": 1e-4, "atol": 1e-4},
    torch.float16: {"rtol": 1e-2, "atol": 1e-2},
    torch.bfloat16: {"rtol": 5e-2, "atol": 5e-2},
}


# Blocks of 32 samples; 8 lanes with pieces of 16 bytes, held up to 64 points in float64.
@pytest.mark.parametrize(
    ("num_samples", "num_points"),
    [(1, 1), (3, 5), (33, 33), (65, 64), (2, 130), (5, 128), (4, 256)],
)
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("dtype", [*TOLERANCE])
def test_equals_the_twin(kernels_on_host, place, num_samples, num_points, convention, dtype):
    copy, unwritten = place
    kernels = kernels_on_host("latent_affine")
    latent = copy(latents(num_samples, num_points, dtype=dtype))
    grad_out = copy(latents(num_samples, num_points, seed=1, dtype=dtype))
    single = torch.float64 if dtype == torch.float64 else torch.float32
    affine = copy(view_affines(num_samples, dtype=single))
    out, grad = (unwritten(*latent.shape, dtype=dtype) for _ in range(2))
    sizes, number = (num_samples, num_points), CONVENTIONS.index(convention)
    kernels("forward", dtype, *sizes, latent, affine, out, number)
    kernels("backward", dtype, *sizes, grad_out, latent, affine, grad, number)

    exact = latent.double().requires_grad_()
    twin = reference.latent_affine(exact, affine.double(), convention=convention)
    twin.backward(grad_out.double())
    torch.testing.assert_close(out.double(), twin.detach(), **TOLERANCE[dtype])
    torch.testing.assert_close(grad.double(), exact.grad, **TOLERANCE[dtype])
