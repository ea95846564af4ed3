"""``equivariant_nt_xent``: the rivals of NT-Xent, after a lean eager inverse of the affine."""

from torch import Tensor

from benchmarks.comparison import OURS, Case, Comparison, Function, Inputs, Provider
from benchmarks.ops.bench_latent_affine import lean_chain
from benchmarks.ops.bench_nt_xent import DIM, DTYPES, RIVALS, Loss, temperature_cases
from pyhandpose import ops, reference
from pyhandpose.testing.inputs import paired_rows, view_affines


def inputs(size: int) -> Inputs:
    """(M,128) latents of 64 points and the (M,2,3) affines of their views."""
    latent = paired_rows(size, DIM, cosine=0.5).float()
    return Inputs((latent,), (view_affines(size, seed=1).float(),))


def after_affine(loss: Loss, temperature: float) -> Function:
    """A loss of rows, of latents that are moved back first."""

    def moved(z: Tensor, affine: Tensor) -> tuple[Tensor]:
        return (loss(lean_chain(z.unflatten(1, (-1, 2)), affine).flatten(1), temperature),)

    return moved


def rival(name: str, loss: Loss, options: dict) -> Provider:
    """A rival of NT-Xent as one of this op."""
    return Provider(name, lambda case: after_affine(loss, case["temperature"]), **options)


def ours(case: Case) -> Function:
    """The op."""
    t = case["temperature"]
    return lambda z, affine: (ops.equivariant_nt_xent(z, affine, temperature=t),)


def ours_in_bfloat16(case: Case) -> Function:
    """The op on bfloat16 latents."""
    t = case["temperature"]
    return lambda z, affine: (ops.equivariant_nt_xent(z.bfloat16(), affine, temperature=t),)


def exact(case: Case) -> Function:
    """The readable twin."""
    t = case["temperature"]
    return lambda z, affine: (reference.equivariant_nt_xent(z, affine, temperature=t),)


COMPARISON = Comparison(
    op="equivariant_nt_xent",
    letter="M",
    growth=2,
    inputs=inputs,
    exact=exact,
    cases=temperature_cases(
        {
            4: (0.5,),
            512: (0.5,),
            2048: (0.5,),
            4096: (0.5, 0.07),
            8192: (0.5,),
            16_384: (0.5,),
            32_768: (0.5,),
            65_536: (0.5,),
            131_072: (0.5,),
            1_048_576: (0.5,),
        }
    ),
    providers=(
        Provider(OURS, ours),
        Provider(f"{OURS} bfloat16", ours_in_bfloat16, devices=("cuda",)),
        *(rival(*definition) for definition in RIVALS),
    ),
    exact_up_to=4096,
    grows_from=4096,
    note=f"D = {DIM}: 64 points; convention `paper`; rivals invert the affine in a lean chain.",
    dtypes=DTYPES,
)
