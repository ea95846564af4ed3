import math

import pytest
import torch

from pyhandpose import ops
from pyhandpose.data.augment import View
from pyhandpose.methods import PeCLRConfig, SimCLRConfig, build_method
from pyhandpose.models.encoder import EncoderConfig
from pyhandpose.models.projector import ProjectorConfig

TINY = EncoderConfig("tiny", width=4)


def stacked_views(num=6, side=32, seed=0):
    g = torch.Generator().manual_seed(seed)
    angle = torch.rand(2 * num, generator=g) - 0.5
    shift = 0.2 * torch.rand(2 * num, 2, generator=g)
    cos, sin = angle.cos(), angle.sin()
    affine = torch.stack([cos, sin, shift[:, 0], -sin, cos, shift[:, 1]], -1).view(-1, 2, 3)
    return View(torch.randn(2 * num, 3, side, side, generator=g), affine)


def test_the_two_methods_share_network_and_initial_weights():
    peclr = build_method(PeCLRConfig(TINY), seed=5)
    simclr = build_method(SimCLRConfig(TINY), seed=5)
    ours, theirs = peclr.state_dict(), simclr.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    views = stacked_views()
    assert torch.equal(peclr(views), simclr(views))
    assert peclr(views).shape == (12, 128)


def test_building_a_method_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    build_method(PeCLRConfig(TINY), seed=5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("convention", ["paper", "official", "direct"])
def test_peclr_undoes_each_views_affine_before_comparing(convention):
    method = build_method(PeCLRConfig(TINY, convention=convention, temperature=0.3))
    views = stacked_views()
    z = method(views)
    loss, metrics = method.loss(z, views)
    moved = ops.latent_affine(z.unflatten(1, (64, 2)), views.affine, convention=convention)
    torch.testing.assert_close(loss, ops.nt_xent(moved.flatten(1), temperature=0.3))
    assert -1 <= metrics["positive_cosine"] <= 1


def test_a_network_that_follows_the_geometry_satisfies_peclr_and_not_simclr():
    views = stacked_views()
    views.affine[..., 2] = 0  # the paper's convention inverts exactly without translation
    g = torch.Generator().manual_seed(1)
    canonical = torch.randn(6, 64, 2, generator=g).repeat(2, 1, 1)
    latent = (canonical @ views.affine[..., :2].mT).flatten(1)
    _, followed = build_method(PeCLRConfig(TINY)).loss(latent, views)
    _, ignored = build_method(SimCLRConfig(TINY)).loss(latent, views)
    assert followed["positive_cosine"].item() == pytest.approx(1, abs=1e-5)
    assert ignored["positive_cosine"].item() < 0.99


def test_without_geometry_the_two_losses_are_one():
    views = stacked_views()
    views.affine[:] = torch.eye(2, 3)
    z = torch.randn(12, 128)
    losses = [build_method(c(TINY)).loss(z, views)[0] for c in (PeCLRConfig, SimCLRConfig)]
    torch.testing.assert_close(losses[0], losses[1])


def test_constant_outputs_give_the_closed_form():
    loss, _ = build_method(SimCLRConfig(TINY)).loss(torch.ones(12, 128), stacked_views())
    assert loss.item() == pytest.approx(math.log(11), abs=1e-5)


def test_gradients_reach_every_parameter():
    method = build_method(PeCLRConfig(TINY, projector=ProjectorConfig(num_points=8)))
    views = stacked_views()
    loss, _ = method.loss(method(views), views)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())
