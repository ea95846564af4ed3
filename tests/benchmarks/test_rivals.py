"""A comparison is fair only between those who compute the same thing."""

import pytest
import torch

from benchmarks.comparison import OURS, Case
from benchmarks.harness import exact_results
from benchmarks.ops import OPS, load
from benchmarks.ops.bench_nt_xent import filled_log_sum_exp, without_self
from benchmarks.targets import TARGETS
from benchmarks.worker import Job
from pyhandpose import reference
from pyhandpose.testing.inputs import paired_rows
from pyhandpose.testing.tolerances import error

COMPILED_ON_FIRST_USE = "torch.compile"  # of a formula that is checked by itself
SMALL = {"M": 64, "B": 16}


def small_cases():
    for op in OPS:
        comparison = load(op)
        size = SMALL[comparison.letter]
        options = dict.fromkeys(case.options for case in comparison.cases)
        for chosen in options:
            case = Case(size, "forward+backward", chosen)
            for provider in comparison.providers:
                name = f"{op}-{provider.name}{''.join(f'-{value}' for _, value in chosen)}"
                forward = Case(size, "forward", chosen)
                taken = next((c for c in (case, forward) if provider.takes(c, "cpu")), None)
                if taken is not None and provider.name != COMPILED_ON_FIRST_USE:
                    yield pytest.param(comparison, provider, taken, id=name.replace(" ", "_"))


@pytest.mark.parametrize(("comparison", "provider", "case"), list(small_cases()))
def test_every_provider_computes_what_the_twin_does(comparison, provider, case):
    if (module := provider.missing()) is not None:
        pytest.skip(f"{module} is not installed")
    outputs, gradients = Job(provider, case, comparison.inputs(case.size), "cpu")()
    exact_outputs, exact_gradients = exact_results(comparison, case)
    assert len(outputs) == len(exact_outputs)
    assert len(gradients) == len(exact_gradients)
    for ours, exact in zip((*outputs, *gradients), (*exact_outputs, *exact_gradients), strict=True):
        assert ours.shape == exact.shape
        assert error(ours.detach(), exact) < 2e-4


@pytest.mark.parametrize("op", OPS)
def test_ours_comes_first_and_names_are_unique(op):
    names = [provider.name for provider in load(op).providers]
    assert names[0] == OURS
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("op", OPS)
def test_sizes_ascend_so_that_small_ones_predict_large_ones(op):
    sizes = [case.size for case in load(op).cases]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.describe("size"))
def test_every_target_is_of_a_case_and_of_providers_that_exist(target):
    comparison = load(target.op)
    assert Case(target.size, target.passes, target.options) in comparison.cases
    names = {provider.name for provider in comparison.providers}
    assert {target.provider, *target.rivals} <= names


@pytest.mark.parametrize("temperature", [0.5, 0.07])
def test_taking_out_the_row_itself_gives_nt_xent(temperature):
    z = paired_rows(48, 16, cosine=0.5)
    u = torch.nn.functional.normalize(z, dim=1)
    s = u @ u.T / temperature
    targets = torch.arange(48).roll(24)
    losses = torch.nn.functional.cross_entropy(s, targets, reduction="none")  # over all rows
    exact = reference.nt_xent(z, temperature=temperature)
    # The sums go through float32 in between, as the packages' do.
    assert float(without_self(losses, u, temperature)) == pytest.approx(float(exact), rel=1e-5)
    assert float(filled_log_sum_exp(z, temperature)) == pytest.approx(float(exact), rel=1e-12)
