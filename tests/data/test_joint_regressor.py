"""The fitted regressor finds the joints again, moves with the hand, and says how well it does."""

import json

import numpy as np
import pytest

from pyhandpose.data.faults import DatasetError
from pyhandpose.data.joint_regressor import (
    TIP_VERTICES,
    fit_regressor,
    fit_to_freihand,
    load_regressor,
    regress_joints,
)
from pyhandpose.data.synthetic import render
from pyhandpose.hand.skeleton import TIPS
from tests.data.fixtures.freihand import write_freihand
from tests.data.fixtures.mesh import mesh_of, regressor


def hands(count, seed=0):
    joints = render(seed, range(count), 16, geometry=False).joints_cam.double().numpy()
    return mesh_of(joints), joints


def test_joints_of_unseen_hands_are_found_wherever_they_are():
    fitted = fit_regressor(zip(*hands(60), strict=True))
    assert fitted.rms_mm.max() < 0.1
    assert fitted.num_hands == 60
    np.testing.assert_allclose(fitted.weights.sum(1), 1)
    vertices, joints = hands(5, seed=1)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    for mesh, hand in zip(vertices, joints, strict=True):
        found = regress_joints(fitted.weights, 2 * mesh @ turn + [5.0, -3.0, 1.0])
        np.testing.assert_allclose(found, 2 * hand @ turn + [5.0, -3.0, 1.0], atol=4e-4)


def test_the_error_is_that_on_hands_it_did_not_see():
    vertices, joints = hands(40)
    rng = np.random.default_rng(1)
    noise = 0.003 * rng.normal(size=joints.shape)
    fitted = fit_regressor(zip(vertices, joints + noise, strict=True))
    held_out = [
        regress_joints(fitted.weights, vertices[i]) - joints[i] - noise[i] for i in range(9, 40, 10)
    ]
    expected = 1000 * np.sqrt((np.array(held_out) ** 2).sum(2).mean(0))
    np.testing.assert_allclose(fitted.rms_mm, expected, rtol=1e-6)
    assert fitted.rms_mm.min() > 1


def test_it_is_fitted_from_freihand_s_files(tmp_path):
    write_freihand(tmp_path, hands=20, evaluation=1, verts=True)
    fitted = fit_to_freihand(tmp_path)
    assert fitted.num_hands == 20
    verts = np.array(json.loads((tmp_path / "training_verts.json").read_text()))
    joints = np.array(json.loads((tmp_path / "training_xyz.json").read_text()))
    np.testing.assert_allclose(fitted.weights @ verts[3], joints[3], atol=1e-3)
    (tmp_path / "training_xyz.json").write_text(json.dumps(joints[:15].tolist()))
    with pytest.raises(DatasetError, match=r"training_xyz\.json\[15\]: fewer entries than"):
        fit_to_freihand(tmp_path)
    (tmp_path / "training_xyz.json").write_text(json.dumps([[1.0]] * 20))
    with pytest.raises(DatasetError, match=r"training_xyz\.json\[0\]: expected 21 x 3"):
        fit_to_freihand(tmp_path)


def test_mano_s_own_regressor_gets_the_fingertips(tmp_path):
    mano = np.zeros((16, 778))
    mano[np.arange(16), np.arange(100, 116)] = 1
    np.save(tmp_path / "J.npy", mano)
    weights = load_regressor(tmp_path / "J.npy")
    assert weights.shape == (21, 778)
    assert weights[list(TIPS)].argmax(1).tolist() == list(TIP_VERTICES)
    assert weights.argmax(1)[[0, 1, 5, 9, 13, 17]].tolist() == [100, 113, 101, 104, 110, 107]
    np.save(tmp_path / "own.npy", regressor())
    np.testing.assert_array_equal(load_regressor(tmp_path / "own.npy"), regressor())


def test_other_files_are_refused(tmp_path):
    np.save(tmp_path / "bad.npy", np.zeros((778, 16)))
    with pytest.raises(DatasetError, match=r"expected \(21,778\), or MANO's"):
        load_regressor(tmp_path / "bad.npy")
    (tmp_path / "text.npy").write_text("no")
    with pytest.raises(DatasetError, match=r"expected a \.npy array"):
        load_regressor(tmp_path / "text.npy")
    with pytest.raises(ValueError, match="at least 10 hands, got 3"):
        fit_regressor(zip(*hands(3), strict=True))
