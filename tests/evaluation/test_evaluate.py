"""Evaluation of methods whose errors are known, on a small dataset with exact labels."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyhandpose.data.sample import HandBatch
from pyhandpose.data.whole_file import write_bytes, write_json
from pyhandpose.evaluation.distances import procrustes_mm
from pyhandpose.evaluation.evaluate import STATUS_WORDS, evaluate
from pyhandpose.evaluation.mean_pose import MeanPose, mean_pose_baseline
from pyhandpose.evaluation.report import comparison_table, results
from pyhandpose.hand.camera import project
from pyhandpose.hand.pose25d import HandPose, lift, to_25d

SIDE = 40


class Labelled:
    """Random joints in front of random cameras; the image's first pixel names the sample."""

    name = "labelled"

    def __init__(self, num=12, seed=0, without=None):
        generator = torch.Generator().manual_seed(seed)
        cam = 0.04 * torch.randn(num, 21, 3, generator=generator)
        cam += torch.tensor([0.0, 0.0, 0.6]) + 0.05 * torch.randn(num, 1, 3, generator=generator)
        focal = 60 + 20 * torch.rand(num, generator=generator)
        K = torch.zeros(num, 3, 3)
        K[:, 0, 0] = K[:, 1, 1] = focal
        K[:, :2, 2], K[:, 2, 2] = (SIDE - 1) / 2, 1.0
        image = torch.zeros(num, SIDE, SIDE, 3, dtype=torch.uint8)
        image += (10 * torch.arange(num, dtype=torch.uint8)).view(-1, 1, 1, 1)
        valid = torch.ones(num, 21, dtype=torch.bool)
        self.batch = HandBatch(image, project(cam, K), cam, K, valid)
        if without:
            self.batch = replace(self.batch, **dict.fromkeys(without))

    def __len__(self):
        return len(self.batch)

    def read(self, indices):
        return self.batch[indices]

    def fingerprint(self):
        return "labelled"


class Knowing:
    """Answers with the labels of the samples, in order, changed by ``error``."""

    def __init__(self, dataset, error=lambda cam: cam):
        self.dataset, self.error, self.start, self.scales = dataset, error, 0, []

    def predict(self, image, intrinsics, hand_scale=None):
        part = slice(self.start, self.start + len(image))
        self.start += len(image)
        cam = self.error(self.dataset.batch.joints_cam[part])
        self.scales.append(hand_scale)
        status = torch.where(cam.isfinite().all(-1).all(-1), 0, 3).to(torch.int8)
        return HandPose(project(cam, intrinsics), cam, status)


def run(method, dataset, input_size=24, **options):
    return evaluate(
        method, dataset, name="m", input_size=input_size, batch_size=5, progress=False, **options
    )


@pytest.mark.parametrize("input_size", [24, 40, 96])
def test_a_perfect_method_has_no_error_at_any_input_size(input_size):
    dataset = Labelled()
    got = run(Knowing(dataset), dataset, input_size)
    assert got.num_samples == 12
    for summary in got.summaries.values():
        assert summary.mean < 1e-3
        assert summary.num_joints == 12 * 21
    assert got.summaries["pa_epe"].auc == pytest.approx(1.0, abs=0.01)
    assert got.depth_status == dict.fromkeys(STATUS_WORDS, 0) | {"ok": 12}
    torch.testing.assert_close(got.pose.joints_img, dataset.batch.joints_img, atol=1e-3, rtol=0)


def test_pixels_are_those_of_the_dataset_whatever_the_method_sees():
    class Shifted(Knowing):
        def predict(self, image, intrinsics, hand_scale=None):
            pose = super().predict(image, intrinsics, hand_scale)
            return pose._replace(joints_img=pose.joints_img + torch.tensor([1.0, 0.0]))

    dataset = Labelled()
    # one px of an 80 px input is half a px of the 40 px image
    assert run(Shifted(dataset), dataset, 80).summaries["epe_2d"].mean == pytest.approx(0.5, 1e-3)
    assert run(Shifted(dataset), dataset, 20).summaries["epe_2d"].mean == pytest.approx(2.0, 1e-3)


def test_a_shift_in_depth_is_an_absolute_error_only():
    dataset = Labelled()
    shift = torch.tensor([0.0, 0.0, 0.02])
    got = run(Knowing(dataset, lambda cam: cam + shift), dataset).summaries
    assert got["epe_absolute"].mean == pytest.approx(20.0, rel=1e-4)
    assert got["epe_root_relative"].mean < 1e-3
    assert got["pa_epe"].mean < 1e-3


def test_the_labelled_scale_is_given_to_the_method():
    dataset = Labelled()
    method = Knowing(dataset)
    assert run(method, dataset).scale_from == "labels"
    _, expected = to_25d(dataset.batch.joints_img, dataset.batch.joints_cam)
    torch.testing.assert_close(torch.cat(method.scales), expected)


def test_a_method_s_own_bone_gives_its_scale():
    dataset = Labelled()
    method = Knowing(dataset)
    method.reference_bone = (9, 10)
    evaluate(method, dataset, name="perfect", input_size=SIDE)
    cam = dataset.batch.joints_cam
    torch.testing.assert_close(torch.cat(method.scales), (cam[:, 9] - cam[:, 10]).norm(dim=1))


def test_failed_poses_are_counted_and_do_not_spoil_the_mean():
    dataset = Labelled()

    def fail_first(cam):
        cam = cam.clone()
        cam[0] = torch.nan
        return cam

    got = run(Knowing(dataset, fail_first), dataset)  # first of each batch of 5: 3 of 12
    assert got.depth_status["degenerate"] == 3
    assert got.summaries["pa_epe"].num_failed == 3 * 21
    assert got.summaries["pa_epe"].mean < 1e-3
    assert got.summaries["pa_epe"].pck[-1] == pytest.approx(9 / 12)
    assert np.isinf(got.sample_errors("pa_epe")[[0, 5, 10]]).all()
    assert "63" in got.table()


def test_a_hand_without_its_reference_bone_has_no_error_in_mm():
    dataset = Labelled()
    dataset.batch.joint_valid[2, 5] = False
    dataset.batch.joint_valid[3, 20] = False
    got = run(Knowing(dataset), dataset).summaries
    assert got["epe_2d"].num_missing == 2
    assert got["epe_absolute"].num_missing == 21 + 1


def test_2d_labels_alone_give_2d_errors_alone():
    dataset = Labelled(without=["joints_cam"])
    with_3d = Labelled()
    got = run(Knowing(with_3d), dataset)
    assert got.scale_from == "none"
    assert got.summaries["epe_2d"].mean < 1e-3
    assert got.summaries["pa_epe"].num_joints == 0
    assert "n/a" in got.table()
    json.dumps(got.to_json(), allow_nan=False)


def test_datasets_that_cannot_be_evaluated_are_named():
    dataset = Labelled(without=["joints_img"])
    with pytest.raises(ValueError, match="labelled has no joint labels"):
        run(Knowing(dataset), dataset)
    with pytest.raises(ValueError, match="no samples"):
        run(Knowing(dataset), Labelled(num=0))


def test_mean_pose_of_identical_hands_is_exact():
    dataset = Labelled()
    one = dataset.batch[torch.zeros(12, dtype=torch.int64)]
    dataset.batch = one
    got = mean_pose_baseline(dataset, dataset, progress=False)
    for summary in got.summaries.values():
        assert summary.mean < 0.01


def test_the_aligned_mean_of_one_hand_from_all_sides_is_that_hand():
    dataset = Labelled()
    generator = torch.Generator().manual_seed(5)
    turn = torch.linalg.qr(torch.randn(12, 3, 3, generator=generator))[0]
    turn *= torch.linalg.det(turn)[:, None, None]
    cam = dataset.batch.joints_cam[0]
    cam = (cam - cam[0]) @ turn.mT + dataset.batch.joints_cam[:, :1]
    dataset.batch = replace(
        dataset.batch, joints_cam=cam, joints_img=project(cam, dataset.batch.intrinsics)
    )
    aligned = mean_pose_baseline(dataset, dataset, aligned=True, progress=False)
    assert aligned.summaries["pa_epe"].mean < 0.01
    plain = mean_pose_baseline(dataset, dataset, progress=False)
    assert plain.summaries["pa_epe"].mean > 1
    assert plain.summaries["epe_root_relative"].mean < aligned.summaries["epe_root_relative"].mean


def test_mean_pose_needs_labels():
    for missing in ("joints_cam", "intrinsics", "joints_img"):
        with pytest.raises(ValueError, match="labelled has no 3D labels"):
            MeanPose.fit(Labelled(without=[missing]))
    dataset = Labelled()
    dataset.batch.joint_valid[0, 0] = False
    with pytest.raises(ValueError, match="joints without labels"):
        MeanPose.fit(dataset)


def test_mean_pose_2d_is_the_mean_of_the_labels():
    train, test = Labelled(seed=1), Labelled(seed=2)
    got = run(MeanPose.fit(train), test)
    mean = train.batch.joints_img.mean(0)
    expected = (test.batch.joints_img - mean).norm(dim=-1).mean()
    assert got.summaries["epe_2d"].mean == pytest.approx(expected.item(), rel=1e-3)


def test_mean_pose_follows_the_camera_and_the_scale():
    mean = MeanPose.fit(Labelled())
    K = Labelled().batch.intrinsics[:1]
    longer = K.clone()
    longer[:, 0, 0] *= 2
    longer[:, 1, 1] *= 2
    image, scale = torch.zeros(1, 3, SIDE, SIDE), torch.tensor([0.09])
    pose, far = mean.predict(image, K, scale), mean.predict(image, longer, scale)
    assert far.joints_cam[0, 0, 2] == pytest.approx(2 * pose.joints_cam[0, 0, 2].item())
    for K_, pose_ in ((K, pose), (longer, far)):
        wrist = project(pose_.joints_cam, K_)[:, 0]
        torch.testing.assert_close(wrist, pose_.joints_img[:, 0], atol=1e-3, rtol=0)
    double = mean.predict(image, K, 2 * scale)
    torch.testing.assert_close(double.joints_cam, 2 * pose.joints_cam)


def test_report_says_what_it_is(tmp_path):
    dataset = Labelled()
    first = run(Knowing(dataset, lambda cam: cam + 0.01), dataset)
    second = replace(run(Knowing(dataset), dataset), method="other")
    record = results([first, second], "cpu")
    assert {"pyhandpose", "torch", "device", "date"} <= set(record["made_by"])
    write_json(tmp_path / "deep" / "results.json", record)
    back = json.loads((tmp_path / "deep" / "results.json").read_text())
    metric = back["evaluations"][0]["metrics"]["epe_absolute"]
    assert metric["unit"] == "mm"
    assert metric["mean"] == pytest.approx(10 * 3**0.5, rel=1e-4)
    assert len(metric["per_joint"]) == 21
    lines = comparison_table([first, second]).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert "17.32" in lines[2]
    assert lines[3].startswith("| other")


def test_json_is_read_back_as_it_was(tmp_path):
    record = {"a[\n 1\n]": ["x [\n2\n] y", "z"], "rows": [[1, None], [2.5, -3e-9]], "none": []}
    write_json(tmp_path / "a.json", record)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == record
    assert "[2.5, -3e-09]" in text
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"x": float("nan")})


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_bytes(path, b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


class Lifting:
    """Knows the labelled 2.5D pose of each view and lifts it with the camera it is given."""

    def __init__(self, dataset):
        self.dataset, self.start, self.given = dataset, 0, []

    def predict(self, image, intrinsics, hand_scale=None):
        part = slice(self.start, self.start + len(image))
        self.start += len(image)
        self.given.append((intrinsics, hand_scale))
        side = image.shape[-1]
        points = self.dataset.batch.joints_img[part]
        joints_img = (points - (SIDE - 1) / 2) * side / SIDE + (side - 1) / 2
        joints_25d, _ = to_25d(joints_img, self.dataset.batch.joints_cam[part])
        return lift(joints_25d, intrinsics, hand_scale)


@pytest.mark.parametrize("without", [(), ("intrinsics",)])
def test_without_a_camera_the_pose_is_lifted_with_the_identity_and_aligned(without):
    """000 section 3.4, in units of the image's side about its centre."""
    dataset = Labelled(without=without)
    method = Lifting(dataset)
    got = run(method, dataset, camera="unknown")
    fractions = (dataset.batch.joints_img - (SIDE - 1) / 2) / SIDE
    joints_25d, _ = to_25d(fractions, dataset.batch.joints_cam)
    expected = lift(joints_25d, torch.eye(3).expand(12, 3, 3), None)
    distances = procrustes_mm(expected.joints_cam, dataset.batch.joints_cam)
    np.testing.assert_allclose(got.distances["pa_epe"], distances, rtol=1e-3)
    assert list(got.summaries) == ["epe_2d", "pa_epe"]
    assert got.summaries["epe_2d"].mean < 1e-3
    assert all(scale is None for _, scale in method.given)
    assert (got.camera, got.to_json()["camera"]) == ("unknown", "unknown")


def test_without_a_camera_only_aligned_errors_mean_something():
    dataset = Labelled()
    with pytest.raises(ValueError, match="with an unknown camera metrics must be of"):
        run(Lifting(dataset), dataset, camera="unknown", metrics=("epe_absolute",))
    with pytest.raises(ValueError, match="camera must be 'given' or 'unknown'"):
        run(Lifting(dataset), dataset, camera="identity")
