"""Every op, forward and backward, inside the graphs of others: Inductor's and CUDA's."""

import shutil

import pytest
import torch

from pyhandpose import ops
from pyhandpose.testing.inputs import hands_in_view, latents, paired_rows, point_sets, view_affines

# A call that returns a tuple whose first tensor is differentiated, and inputs of a seed.
CALLS = {
    "latent_affine": (
        lambda *inputs: (ops.latent_affine(*inputs),),
        lambda seed: (latents(6, 9, seed=seed), view_affines(6, seed=seed)),
    ),
    "nt_xent": (lambda z: (ops.nt_xent(z),), lambda seed: (paired_rows(66, 10, seed=seed),)),
    "equivariant_nt_xent": (
        lambda *inputs: (ops.equivariant_nt_xent(*inputs),),
        lambda seed: (paired_rows(66, 10, seed=seed), view_affines(66, seed=seed)),
    ),
    "root_depth": (
        lambda *inputs: (ops.root_depth(*inputs).joints,),
        lambda seed: hands_in_view(7, seed=seed)[1:],
    ),
    "procrustes": (
        lambda *inputs: (lambda found: (found.aligned, found.rotation))(ops.procrustes(*inputs)),
        lambda seed: point_sets((7,), 21, seed=seed),
    ),
}


def values_and_gradient(call, inputs):
    first = inputs[0].detach().requires_grad_()
    values = call(first, *inputs[1:])
    (gradient,) = torch.autograd.grad(values[0].square().sum(), first)
    return [*(value.detach() for value in values), gradient]


@pytest.mark.parametrize("op", CALLS)
def test_a_captured_step_repeats_on_new_inputs(device, op):
    if device == "cpu":
        pytest.skip("graphs are CUDA's")
    call, make = CALLS[op]
    fixed = [t.to(device) for t in make(0)]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # as torch asks: a warm-up on another stream
        values_and_gradient(call, fixed)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = values_and_gradient(call, fixed)
    others = [t.to(device) for t in make(1)]
    for place, other in zip(fixed, others, strict=True):
        place.copy_(other)
    graph.replay()
    torch.testing.assert_close(captured, values_and_gradient(call, others), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore")  # of Inductor's own imports
@pytest.mark.parametrize("op", CALLS)
def test_inductor_compiles_what_surrounds_it(op):
    """The whole of torch.compile's default path: fake, functionalised, lowered, generated code."""
    if not (shutil.which("g++") or shutil.which("c++")):
        pytest.skip("Inductor needs a C++ compiler")
    call, make = CALLS[op]
    inputs = make(0)

    def surrounded(first, *others):
        return call(1.01 * first, *others)[0].square().sum()

    def value_and_gradient(function):
        first = inputs[0].detach().requires_grad_()
        value = function(first, *inputs[1:])
        (gradient,) = torch.autograd.grad(value, first)
        return value.detach(), gradient

    compiled = torch.compile(surrounded, fullgraph=True, backend="inductor")
    torch.testing.assert_close(value_and_gradient(compiled), value_and_gradient(surrounded))
