import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from pyhandpose.training.config import OptimizerConfig
from pyhandpose.training.optim import build_optimizer, lr_factor, set_lr

NETWORK = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_only_matrices_and_kernels_are_decayed():
    optimizer = build_optimizer(NETWORK.parameters(), OptimizerConfig(weight_decay=0.1))
    decayed, kept = optimizer.param_groups
    assert {id(p) for p in decayed["params"]} == {id(NETWORK[0].weight), id(NETWORK[3].weight)}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert len(kept["params"]) == 4


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_optimizers_by_name(name, kind):
    optimizer = build_optimizer(NETWORK.parameters(), OptimizerConfig(name=name, lr=0.5))
    assert type(optimizer) is kind
    set_lr(optimizer, 0.25)
    assert [g["lr"] for g in optimizer.param_groups] == [0.25, 0.25]


def test_one_cycle_is_torchs():
    config = OptimizerConfig(schedule="one-cycle", warmup=0.3)
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    num = 101
    # torch puts its highest point at warmup * num - 1, ours at warmup * num
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=num, pct_start=31 / 101, final_div_factor=1e9
    )
    for step in range(num):
        expected = optimizer.param_groups[0]["lr"]
        if step <= 30:
            assert lr_factor(step, num, config) == pytest.approx(expected, abs=1e-6)
        optimizer.step()
        if step + 1 < num:
            theirs.step()


def test_cosine_rises_linearly_and_falls_to_nothing():
    config = OptimizerConfig(schedule="cosine", warmup=0.1)
    factors = [lr_factor(step, 100, config) for step in range(100)]
    rises = [b - a for a, b in pairwise(factors[:11])]
    assert rises == pytest.approx([1 / 11] * 10)
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[99] == pytest.approx((1 - math.cos(math.pi / 90)) / 2)
    assert sorted(factors[10:], reverse=True) == factors[10:]


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_factors_stay_between_zero_and_one(schedule, warmup, num_steps):
    config = OptimizerConfig(schedule=schedule, warmup=warmup)
    assert all(0 < lr_factor(s, num_steps, config) <= 1 for s in range(num_steps))
