"""Predictions arrive in the pixels and the camera of the photo, whatever was cropped."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from pyhandpose.data.photo import BoxOutsideError, Photo
from pyhandpose.data.two_pass import TwoPass
from pyhandpose.hand.camera import project
from pyhandpose.hand.pose25d import HandPose
from pyhandpose.predict import (
    DEPTH_WORDS,
    Camera,
    Prediction,
    Predictor,
    Request,
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
    assert method.seen[0][2].item() == pytest.approx(0.09)
    assert any("90 degrees" in sentence for sentence in got.assumptions())
    assert any("90 mm" in sentence for sentence in got.assumptions())
    assert any("right one" in sentence for sentence in got.assumptions())
    assert any("centre of the image" in sentence for sentence in got.assumptions())
    known = {"intrinsics": CAMERA, "hand_scale_mm": 85, "hand": "right", "box": (40, 0, 160, 120)}
    (got,) = Predictor(method, SIDE, "folder")(photo, **known)
    assert got.assumptions() == []
    assert (got.hand_from, got.box_from) == ("given", "given")
    assert got.fov_deg is None
    assert method.seen[1][2].item() == pytest.approx(0.085)


def test_the_box_is_the_square_that_was_seen(hand, photo):
    (whole,) = Predictor(Recorder(hand), SIDE, "test")(photo)
    assert whole.box_px == (40.0, 0.0, 160.0, 120.0)
    (part,) = Predictor(Recorder(hand), SIDE, "test")(photo, box=(10, 20, 30, 60))
    assert part.box_px == (0.0, 20.0, 40.0, 60.0)


class TwoLooks(Recorder):
    """A perfect method with the margin and the root of another bone."""

    two_pass = TwoPass(first_fraction=None, fill=0.5)
    reference_bone = (9, 10)
    notes = ("The wrist is a guess.",)


@pytest.mark.parametrize("hand_name", ["right", "left"])
def test_the_second_look_is_around_the_joints_of_the_first(hand, photo, hand_name):
    mirrored = torch.tensor([-1.0, 1.0, 1.0]) if hand_name == "left" else torch.ones(3)
    method = TwoLooks(hand * mirrored)
    predictor = Predictor(method, SIDE, "test")
    (got,) = predictor(photo, intrinsics=CAMERA, hand=hand_name)
    expected = project(hand[None], MATRIX)[0]
    np.testing.assert_allclose(got.joints_img_px, expected, atol=1e-2)
    assert len(method.seen) == 2
    assert got.box_from == "found"
    side = got.box_px[2] - got.box_px[0]
    extent = (expected.amax(0) - expected.amin(0)).max().item()
    assert side == pytest.approx(2 * extent, rel=1e-3)
    middle = (expected.amax(0) + expected.amin(0)) / 2
    centre = [(got.box_px[0] + got.box_px[2]) / 2, (got.box_px[1] + got.box_px[3]) / 2]
    np.testing.assert_allclose(centre, middle, atol=side / SIDE + 0.5)

    (once,) = predictor(photo, intrinsics=CAMERA, hand=hand_name, passes=1)
    assert (len(method.seen), once.box_from, once.box_px) == (3, "centred", (40, 0, 160, 120))


def test_a_given_box_is_looked_at_once_and_with_the_margin(hand, photo):
    method = TwoLooks(hand)
    (got,) = Predictor(method, SIDE, "test")(photo, box=(60, 30, 100, 70))
    assert len(method.seen) == 1
    assert got.box_px[2] - got.box_px[0] == pytest.approx(80)
    assert got.box_from == "given"


def test_the_method_s_own_bone_and_notes(hand, photo):
    method = TwoLooks(hand)
    (got,) = Predictor(method, SIDE, "test")(photo)
    assert method.seen[0][2].item() == pytest.approx(0.031)
    assert got.reference_bone == ("middle_mcp", "middle_pip")
    assert any("middle MCP to middle PIP" in sentence for sentence in got.assumptions())
    assert "The wrist is a guess." in got.assumptions()


def test_either_hand_is_estimated_when_nobody_knows(hand, photo):
    predictor = Predictor(TwoLooks(hand), SIDE, "test")
    picture = Photo(Image.fromarray(photo), "photo")
    requests = [
        Request(picture, None, "auto-both"),
        Request(picture, (10, 10, 60, 60), "left"),
        Request(picture, (10, 10, 60, 60)),
    ]
    answers = list(predictor.stream(requests, Camera(CAMERA), batch_size=2))
    assert [request for request, _ in answers] == requests
    found = [[(p.hand, p.hand_from, p.box_from) for p in hands] for _, hands in answers]
    assert found == [
        [("right", "both", "found"), ("left", "both", "found")],
        [("left", "given", "given")],
        [("right", "assumed", "given")],
    ]
    right, left = answers[0][1]
    np.testing.assert_allclose(right.joints_cam_mm, 1000 * hand, rtol=1e-5)
    np.testing.assert_allclose(left.joints_cam_mm, right.joints_cam_mm * [-1, 1, 1], rtol=1e-5)
    assert any("cannot tell" in sentence for sentence in left.assumptions())


def test_a_box_outside_the_photo_is_refused(photo):
    predictor = Predictor(TwoLooks(torch.zeros(21, 3)), SIDE, "test")
    with pytest.raises(BoxOutsideError):
        predictor.crop_of(Request(Photo(Image.fromarray(photo), None), (900, 0, 950, 50)))


def test_a_box_of_numpy_s_numbers(hand, photo):
    (got,) = Predictor(Recorder(hand), SIDE, "test")(photo, box=np.array([10.0, 20.0, 90.0, 100.0]))
    assert got.box_px == (10, 20, 90, 100)


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
        ({"passes": 3}, "passes"),
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
