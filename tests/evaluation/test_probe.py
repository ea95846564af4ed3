"""The ridge probe against refits that leave each sample out, and against the normal equations."""

import pytest
import torch

from pyhandpose.evaluation.probe import PENALTIES, ridge_probe


def refit(x, y, penalty):
    """Intercept and slopes of ridge regression by the augmented normal equations."""
    ones = torch.ones(len(x), 1, dtype=x.dtype)
    design = torch.cat([ones, x], 1)
    penalised = penalty * torch.eye(design.shape[1], dtype=x.dtype)
    penalised[0, 0] = 0.0
    return torch.linalg.solve(design.mT @ design + penalised, design.mT @ y)


def apply(fit, x):
    return fit[0] + x @ fit[1:]


def brute_force(features, targets, test):
    """Lambda by N refits per candidate, then the fit on all samples."""
    mean, std = features.mean(0), features.std(0, correction=0)
    x, x_test = (features - mean) / std, (test - mean) / std
    # candidates are in units of the mean squared singular value of the centred features
    singular = torch.linalg.svdvals(x)
    unit = singular[singular > 1e-9 * singular[0]].square().mean()
    variance = targets.var(0, correction=0)
    errors = []
    for candidate in PENALTIES:
        squares = []
        for n in range(len(x)):
            rest = torch.arange(len(x)) != n
            fit = refit(x[rest], targets[rest], candidate * unit)
            squares.append((apply(fit, x[n : n + 1])[0] - targets[n]).square() / variance)
        errors.append(torch.stack(squares).mean())
    penalty = PENALTIES[int(torch.stack(errors).argmin())] * unit
    return apply(refit(x, targets, penalty), x_test), penalty.item()


@pytest.mark.parametrize(("num", "width"), [(12, 4), (9, 30)], ids=["tall", "wide"])
def test_equals_leave_one_out_refits(num, width):
    generator = torch.Generator().manual_seed(num)
    x = torch.randn(num, width, generator=generator, dtype=torch.float64)
    slopes = torch.randn(width, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(num, 3, generator=generator, dtype=torch.float64)
    y = (x @ slopes + noise) * torch.tensor([100.0, 1.0, 0.01], dtype=torch.float64)
    test = torch.randn(5, width, generator=generator, dtype=torch.float64)
    expected, penalty = brute_force(x, y, test)
    got = ridge_probe(x, y, test)
    assert got.penalty == pytest.approx(penalty, rel=1e-9)
    torch.testing.assert_close(got.predictions, expected, rtol=1e-8, atol=1e-10)


def test_linear_targets_are_recovered():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 8, generator=generator)
    targets = (3 + x @ torch.randn(8, 42, generator=generator)).view(60, 21, 2)
    got = ridge_probe(x[:40], targets[:40], x[40:]).predictions
    assert got.shape == (20, 21, 2)
    assert (got - targets[40:]).abs().max() < 2e-3 * targets.abs().max()


def test_targets_in_other_units_give_the_same_fit():
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(30, 5, generator=generator), torch.randn(30, 4, generator=generator)
    one = ridge_probe(x, y, x)
    other = ridge_probe(10 * x + 7, y * torch.tensor([1.0, 1e3, 1e-3, 1.0]), 10 * x + 7)
    assert other.penalty == pytest.approx(one.penalty, rel=1e-5)
    expected = one.predictions * torch.tensor([1.0, 1e3, 1e-3, 1.0])
    torch.testing.assert_close(other.predictions, expected, rtol=1e-3, atol=1e-5)


def test_pure_noise_chooses_the_mean():
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(64, 40, generator=generator), torch.randn(64, 6, generator=generator)
    got = ridge_probe(x, y, x).predictions
    assert (got - y.mean(0)).square().mean() < 0.05 * y.var()


def test_constant_features_give_the_mean_and_repeat_exactly():
    y = torch.arange(12.0).view(4, 3)
    got = ridge_probe(torch.ones(4, 5), y, torch.zeros(2, 5))
    torch.testing.assert_close(got.predictions, y.mean(0).expand(2, 3))
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(20, 50, generator=generator)
    x[:, 7] = 1.0
    first, second = (ridge_probe(x, x[:, :3], x) for _ in range(2))
    assert torch.equal(first.predictions, second.predictions)


@pytest.mark.parametrize(
    ("train", "targets", "test", "message"),
    [
        ((4, 3), (4, 2), (5, 2), "same encoder"),
        ((4, 3), (5, 2), (5, 3), "one target per training sample"),
        ((1, 3), (1, 2), (5, 3), "at least 2"),
        ((4, 3, 1), (4, 2), (5, 3), r"\(N,F\)"),
    ],
)
def test_wrong_shapes_are_named(train, targets, test, message):
    with pytest.raises(ValueError, match=message):
        ridge_probe(torch.zeros(train), torch.zeros(targets), torch.zeros(test))


def test_non_finite_features_are_named():
    x = torch.zeros(4, 3)
    x[1, 1] = torch.nan
    with pytest.raises(ValueError, match="features_train must be finite"):
        ridge_probe(x, torch.zeros(4, 2), torch.zeros(5, 3))
