"""Every dataset's joint order is a permutation, can be undone, and puts bones where they belong."""

import numpy as np
import pytest
import torch

from pyhandpose.data.synthetic import render
from pyhandpose.hand.skeleton import (
    BONES,
    JOINT_NAMES,
    JOINT_ORDERS,
    TIPS,
    from_canonical,
    tips_to_canonical,
    to_canonical,
)

# the joints of each dataset by name, from its own documentation: order -> names in that order
FINGERS = {
    "thumb": ["thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip"],
    **{
        f: [f"{f}_mcp", f"{f}_pip", f"{f}_dip", f"{f}_tip"]
        for f in ("index", "middle", "ring", "little")
    },
}
OUTWARD = [j for f in FINGERS.values() for j in f]
NAMES = {
    "canonical": ["wrist", *OUTWARD],
    "ait": ["wrist", *(FINGERS[f][k] for k in range(4) for f in FINGERS)],
    "mano": [
        "wrist",
        *(j for f in ("index", "middle", "little", "ring", "thumb") for j in FINGERS[f][:3]),
        *(f"{f}_tip" for f in FINGERS),
    ],
    "rhd": ["wrist", *(j for f in FINGERS for j in reversed(FINGERS[f]))],
    "stb": ["wrist", *(j for f in reversed(FINGERS) for j in FINGERS[f])],
    "interhand": [*(j for f in FINGERS for j in reversed(FINGERS[f])), "wrist"],
}


@pytest.mark.parametrize("order", JOINT_ORDERS)
def test_each_order_is_a_permutation_that_puts_each_joint_at_its_name(order):
    assert sorted(JOINT_ORDERS[order]) == list(range(21))
    assert [NAMES[order][j] for j in JOINT_ORDERS[order]] == list(JOINT_NAMES)


@pytest.mark.parametrize("order", JOINT_ORDERS)
def test_there_and_back_is_the_identity(order):
    joints = torch.randn(3, 21, 3)
    assert torch.equal(from_canonical(to_canonical(joints, order), order), joints)
    assert torch.equal(to_canonical(from_canonical(joints, order), order), joints)
    array = joints.numpy()
    np.testing.assert_array_equal(to_canonical(array, order), to_canonical(joints, order))


@pytest.mark.parametrize("order", JOINT_ORDERS)
def test_a_hand_in_a_dataset_s_order_has_plausible_bones_only_after_it(order):
    hand = render(0, range(16), 16, geometry=False).joints_cam
    stored = from_canonical(hand, order)

    def plausible(joints):
        # (16,5,4) m, from the wrist outward
        bones = torch.stack([(joints[:, a] - joints[:, b]).norm(dim=-1) for a, b in BONES], 1)
        bones = bones.unflatten(1, (5, 4))
        palm, phalanges, length = bones[:, :, 0], bones[:, 1:, 1:], bones[:, :, 1:].sum(2)
        return bool(
            (palm[:, 0] < 0.06).all()  # the thumb's first joint is next to the wrist
            and ((palm[:, 1:] > 0.06) & (palm[:, 1:] < 0.12)).all()
            and (phalanges.diff(dim=2) < 0.003).all()  # shorter towards the tip
            and (length[:, 2] > length[:, 1]).all()  # middle over index
            and (length[:, 1:].argmin(1) == 3).all()  # the little finger is the shortest
        )

    assert plausible(to_canonical(stored, order))
    assert plausible(stored) == (order == "canonical")


def test_fingertips_are_put_at_the_fingertips():
    tips = np.arange(10.0).reshape(5, 2)
    joints = tips_to_canonical(tips)
    np.testing.assert_array_equal(joints[list(TIPS)], tips)
    assert np.isfinite(joints).all(1).sum() == 5
    assert [JOINT_NAMES[j] for j in TIPS] == [f"{f}_tip" for f in FINGERS]


def test_wrong_orders_and_shapes_are_named():
    with pytest.raises(ValueError, match="expected one of canonical, ait"):
        to_canonical(torch.zeros(21, 3), "nyu")
    with pytest.raises(ValueError, match=r"joint order 'rhd': expected joints \(...,21,D\)"):
        to_canonical(torch.zeros(42, 3), "rhd")
    with pytest.raises(ValueError, match=r"expected \(...,5,D\)"):
        tips_to_canonical(np.zeros((21, 3)))
