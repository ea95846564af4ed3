"""Predictions arrive in the pixels and the camera of the photo, whatever was cropped."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from pyhandpose.hand.camera import project
from pyhandpose.hand.pose25d import HandPose
from pyhandpose.predict import (
    ASSUMED_HAND_SCALE_MM,
    DEPTH_WORDS,
    Prediction,
    Predictor,
    default_checkpoint,
)

SIDE = 32


class Recorder:
    """Knows the hand in the photo's camera; answers as a perfect method would for each crop."""

    def __init__(self, joints_cam, status=0):
        self.joints_cam = joints_cam  # (21,3) m
        self.status = status
        self.seen = []

    def predict(self, image, intrinsics, hand_scale=None):
        self.seen.append((image, intrinsics, hand_scale))
        joints_cam = self.joints_cam.expand(len(image), 21, 3)
        status = torch.full((len(image),), self.status, dtype=torch.int8)
        return HandPose(project(joints_cam, intrinsics), joints_cam, status)


@pytest.fixture
def hand():
    generator = torch.Generator().manual_seed(0)
    return 0.05 * torch.randn(21, 3, generator=generator) + torch.tensor([0.02, -0.01, 0.6])


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 255, (120, 200, 3)).astype(np.uint8)


CAMERA = (210.0, 205.0, 98.0, 61.0)
MATRIX = torch.tensor([[210.0, 0.0, 98.0], [0.0, 205.0, 61.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("box", [None, (10, 20, 90, 100), (-15.5, 3.25, 60, 200)])
def test_a_perfect_method_gives_the_photo_s_own_pixels(hand, photo, box):
    (got,) = Predictor(Recorder(hand), SIDE, "test")(photo, box=box, intrinsics=CAMERA)
    expected = project(hand[None], MATRIX)[0]
    np.testing.assert_allclose(got.joints_img_px, expected, atol=1e-2)
    np.testing.assert_allclose(got.joints_cam_mm, 1000 * hand, rtol=1e-5)
    assert got.intrinsics_px == CAMERA


def test_a_left_hand_is_mirrored_for_the_method_and_back(hand, photo):
    flip = torch.tensor([-1.0, 1.0, 1.0])
    method = Recorder(hand * flip)  # what a right-hand method sees of this left hand
    box = (30, 0, 150, 120)
    (left,) = Predictor(method, SIDE, "test")(photo, box=box, intrinsics=CAMERA, hand="left")
    np.testing.assert_allclose(left.joints_img_px, project(hand[None], MATRIX)[0], atol=1e-2)
    np.testing.assert_allclose(left.joints_cam_mm, 1000 * hand, rtol=1e-5)
    Predictor(method, SIDE, "test")(photo, box=box, intrinsics=CAMERA)
    (as_left, *_), (as_right, *_) = method.seen
    torch.testing.assert_close(as_left, as_right.flip(-1))


def test_a_known_crop_coordinate_is_mapped_back_by_hand(photo):
    class Corners:
        def predict(self, image, intrinsics, hand_scale=None):
            points = torch.zeros(1, 21, 2)
            points[:, 1] = SIDE - 1
            return HandPose(points, torch.zeros(1, 21, 3), torch.zeros(1, dtype=torch.int8))

    (got,) = Predictor(Corners(), SIDE, "test")(photo, box=(40, 10, 104, 74))  # 64 px: 2 a view px
    # the first view pixel covers photo pixels 40 and 41: its centre lies between them
    np.testing.assert_allclose(got.joints_img_px[0], [40.5, 10.5], atol=1e-4)
    np.testing.assert_allclose(got.joints_img_px[1], [102.5, 72.5], atol=1e-4)


def test_what_was_assumed_is_said(hand, photo):
    method = Recorder(hand)
    (got,) = Predictor(method, SIDE, "folder")(photo, fov_deg=90.0)
    assert got.intrinsics_px == pytest.approx((100.0, 100.0, 99.5, 59.5))
    assert (got.intrinsics_from, got.hand_scale_from, got.fov_deg) == ("assumed", "assumed", 90.0)
    assert method.seen[0][2].item() == pytest.approx(ASSUMED_HAND_SCALE_MM / 1000)
    assert any("90 degrees" in sentence for sentence in got.assumptions())
    assert any("90 mm" in sentence for sentence in got.assumptions())
    (got,) = Predictor(method, SIDE, "folder")(photo, intrinsics=CAMERA, hand_scale_mm=85)
    assert got.assumptions() == []
    assert got.fov_deg is None
    assert method.seen[1][2].item() == pytest.approx(0.085)


def test_the_box_is_the_square_that_was_seen(hand, photo):
    (whole,) = Predictor(Recorder(hand), SIDE, "test")(photo)
    assert whole.box_px == (40.0, 0.0, 160.0, 120.0)
    (part,) = Predictor(Recorder(hand), SIDE, "test")(photo, box=(10, 20, 30, 60))
    assert part.box_px == (0.0, 20.0, 40.0, 60.0)


def test_several_photos_of_several_sizes_in_batches(hand, photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "p.png")
    images = [photo, tmp_path / "p.png", Image.fromarray(photo[:80, :80]), torch.from_numpy(photo)]
    method = Recorder(hand)
    got = Predictor(method, SIDE, "test")(images, batch_size=3)
    assert [len(seen[0]) for seen in method.seen] == [3, 1]
    assert [p.source for p in got] == [None, str(tmp_path / "p.png"), None, None]
    np.testing.assert_array_equal(got[0].joints_img_px, got[3].joints_img_px)
    assert got[2].image_size_px == (80, 80)


@pytest.mark.parametrize(("status", "word"), list(enumerate(DEPTH_WORDS)))
def test_json_round_trip(hand, photo, status, word):
    method = Recorder(hand if status < 3 else hand * torch.nan, status)
    (got,) = Predictor(method, SIDE, "test")(photo)
    assert got.depth == DEPTH_WORDS[word]
    text = json.dumps(got.to_json(), allow_nan=False)
    back = Prediction.from_json(json.loads(text))
    np.testing.assert_allclose(back.joints_cam_mm, got.joints_cam_mm, atol=6e-4)
    np.testing.assert_allclose(back.joints_img_px, got.joints_img_px, atol=6e-4)
    assert back.to_json() == got.to_json()
    assert json.loads(text)["joint_order"] == "canonical"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intrinsics": (0, 1, 2, 3)}, "intrinsics"),
        ({"intrinsics": (1, 1, 2)}, "intrinsics"),
        ({"fov_deg": 180.0}, "fov_deg"),
        ({"hand": "both"}, "hand"),
        ({"hand_scale_mm": 0.0}, "hand_scale_mm"),
        ({"box": (5, 5, 5, 9)}, "box"),
    ],
)
def test_impossible_options_are_named(hand, photo, options, message):
    with pytest.raises(ValueError, match=message):
        Predictor(Recorder(hand), SIDE, "test")(photo, **options)


def test_no_images_at_a_time_is_refused(hand, photo):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Predictor(Recorder(hand), SIDE, "test")(photo, batch_size=0)


def test_the_quick_start_s_model_is_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("PYHANDPOSE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_checkpoint() == tmp_path / "pyhandpose" / "quickstart" / "model"


def test_without_a_checkpoint_it_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PYHANDPOSE_CACHE", str(tmp_path))
    assert default_checkpoint() == tmp_path / "quickstart" / "model"
    with pytest.raises(FileNotFoundError, match="pyhandpose quickstart"):
        Predictor.load()
