"""Any dataset's entries arrive cropped, right-handed, in order, consistent, and checked."""

import logging
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from pyhandpose.data.annotated import AnnotatedDataset, ReadOptions
from pyhandpose.data.augment import AugmentConfig, augment
from pyhandpose.data.crop import Canvas, Labels
from pyhandpose.data.entry import Entry, odd_intrinsics
from pyhandpose.data.faults import DatasetError, EmptyBatchError, Faults
from pyhandpose.data.photo import read_photo
from pyhandpose.data.synthetic import render
from pyhandpose.hand.camera import mirror, project
from pyhandpose.hand.skeleton import from_canonical

SIZE = 96


class Hands:
    """Rendered hands as a dataset: every second one left, stored in InterHand2.6M's order."""

    kind = "hands"
    files = ()

    def __init__(self, folder, count=6, **changes):
        self.folder, self.changes = folder, changes
        self.batch = render(3, range(count), SIZE)
        self.left = [i % 2 == 1 for i in range(count)]
        self.entries = []
        for i in range(count):
            batch = self.batch[i : i + 1]
            image, mask, depth = batch.image[0], batch.mask[0], batch.depth[0]
            joints = batch.joints_img, batch.joints_cam, batch.intrinsics
            if self.left[i]:
                joints = mirror(*joints, SIZE)
                image, mask, depth = (part.flip(1) for part in (image, mask, depth))
            points, hand, camera = (part[0].double().numpy() for part in joints)
            Image.fromarray(image.numpy()).save(folder / f"{i}.png")
            self.entries.append(
                {
                    "name": f"#{i}",
                    "joints_img": from_canonical(points, "interhand"),
                    "joints_cam": from_canonical(hand, "interhand"),
                    "intrinsics": camera,
                    "order": "interhand",
                    "is_left": self.left[i],
                    "image_size": (SIZE, SIZE),
                    "mask": mask.numpy,
                    "depth": depth.numpy,
                    **changes,
                }
            )

    def __len__(self):
        return len(self.entries)

    def image_file(self, index):
        return str(self.folder / f"{index}.png")

    def entry(self, index):
        return Entry(**self.entries[index])


def opened(hands, **options):
    read = ReadOptions(**{"size": SIZE, "geometry": True, **options})
    return AnnotatedDataset(hands, read, "hands", Faults(read.on_error))


def test_whole_images_come_back_as_the_right_hands_that_were_stored(tmp_path):
    hands = Hands(tmp_path, crop="whole")
    batch = opened(hands).read(torch.tensor([4, 1, 3]))
    expected = hands.batch[torch.tensor([4, 1, 3])]
    for name in ("image", "mask", "depth", "joint_valid"):
        assert torch.equal(getattr(batch, name), getattr(expected, name)), name
    for name in ("joints_img", "joints_cam", "intrinsics"):
        torch.testing.assert_close(getattr(batch, name), getattr(expected, name))
    assert batch.mirrored.tolist() == [False, True, True]
    assert batch.joint_valid_cam.all()
    assert [s.entry for s in batch.source] == ["#4", "#1", "#3"]
    assert batch.source[1].dataset == "hands"
    assert batch.source[1].file.endswith("1.png")


@pytest.mark.parametrize("size", [64, 131])
def test_crops_keep_projection_mask_and_the_way_back(tmp_path, size):
    hands = Hands(tmp_path)
    data = opened(hands, size=size, margin=1.3)
    batch = data.read(torch.arange(6))
    assert batch.image.shape == (6, size, size, 3)
    projected = project(batch.joints_cam, batch.intrinsics)
    torch.testing.assert_close(projected, batch.joints_img, atol=2e-3, rtol=0)
    extent = batch.joints_img.amax(1) - batch.joints_img.amin(1)
    torch.testing.assert_close(extent.amax(1), torch.full((6,), size / 1.3), atol=1e-2, rtol=0)
    # the way back ends at the pixels of the file, in which left hands are left
    back = batch.source_points(batch.joints_img)
    stored = torch.stack([torch.from_numpy(e["joints_img"]) for e in hands.entries]).float()
    canonical = [20, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 19, 18, 17, 16]
    torch.testing.assert_close(back, stored[:, canonical], atol=2e-3, rtol=0)
    # the hand's pixels are where its joints are, and its depth is about theirs
    rows = torch.arange(6)[:, None]
    near = batch.joints_img.round().long().clamp(0, size - 1)
    on_hand = batch.mask[rows, near[..., 1], near[..., 0]]
    assert on_hand.float().mean() > 0.9
    depth = batch.depth[rows, near[..., 1], near[..., 0]]
    assert ((depth - batch.joints_cam[..., 2]).abs()[on_hand] < 0.06).float().mean() > 0.9


def test_image_and_mask_are_cropped_alike(tmp_path):
    hands = Hands(tmp_path, count=1, box=(20.0, 10.0, 68.0, 58.0), is_left=False)
    batch = opened(hands, size=48).read(torch.tensor([0]))
    assert torch.equal(batch.image[0], hands.batch.image[0, 10:58, 20:68])
    assert torch.equal(batch.mask[0], hands.batch.mask[0, 10:58, 20:68])
    outside = Hands(tmp_path, count=1, box=(-48.0, 0.0, 48.0, 96.0), is_left=False)
    batch = opened(outside).read(torch.tensor([0]))
    assert not batch.image[0, :, :48].any()
    assert not batch.mask[0, :, :48].any()
    assert torch.equal(batch.depth[0, :, 48:], hands.batch.depth[0, :, :48])


@pytest.mark.parametrize("is_left", [False, True])
@pytest.mark.parametrize("size", [24, 72])
def test_a_spot_in_the_picture_stays_under_its_label(tmp_path, size, is_left):
    picture = np.zeros((40, 40), np.uint8)
    picture[8:20, 16:28] = 255  # its middle is (21.5, 13.5)
    Image.fromarray(picture).convert("RGB").save(tmp_path / "spot.png")
    canvas = Canvas.of((10.0, 2.0, 34.0, 26.0), (40, 40), size, is_left)
    spot = np.full((21, 2), [21.5, 13.5])
    label = canvas.labels(Labels(spot, None, None))["joints_img"][0]
    shown = canvas.image(read_photo(tmp_path / "spot.png"))[..., 0], canvas.nearest(picture)
    for pixels in shown:
        rows, columns = np.mgrid[:size, :size]
        weight = pixels.astype(float)
        middle = [(weight * columns).sum(), (weight * rows).sum()] / weight.sum()
        np.testing.assert_allclose(label, middle, atol=0.01)


def test_a_joint_in_the_plane_of_the_camera_has_no_label(tmp_path):
    hands = Hands(tmp_path, count=1, crop="whole", joints_img=None)
    hands.entries[0]["joints_cam"][3, 2] = 0.0
    batch = opened(hands).read(torch.arange(1))
    assert batch.joint_valid.sum() == batch.joint_valid_cam.sum() == 20
    assert torch.equal(batch.joint_valid, batch.joint_valid_cam)


def test_unlabelled_joints_are_nan_and_train_with_masks(tmp_path):
    labelled = np.zeros(21, bool)
    labelled[[0, 4, 8, 12, 16]] = True  # the tips, in this order
    hands = Hands(tmp_path, labelled=labelled)
    for entry in hands.entries:
        entry["joints_cam"] = np.where(labelled[:, None], entry["joints_cam"], np.inf)
    batch = opened(hands).read(torch.arange(6))
    expected = torch.zeros(21, dtype=torch.bool)
    expected[[4, 8, 12, 16, 20]] = True
    assert torch.equal(batch.joint_valid, expected.expand(6, 21))
    assert torch.equal(batch.joint_valid_cam, expected.expand(6, 21))
    assert batch.joints_cam[:, ~expected].isnan().all()
    view = augment(batch, AugmentConfig(rotation_deg=30), torch.Generator(), 32)
    assert torch.equal(view.joint_valid, batch.joint_valid)
    assert view.joints_img.isfinite().all()
    assert view.joints_cam.isfinite().all()


def test_missing_image_points_are_projected_where_there_is_3d(tmp_path):
    hands = Hands(tmp_path, crop="whole")
    for entry in hands.entries:
        entry["joints_img"] = None
    batch = opened(hands).read(torch.arange(6))
    torch.testing.assert_close(batch.joints_img, hands.batch.joints_img, atol=1e-3, rtol=0)


def test_2d_labels_alone_leave_the_rest_unknown(tmp_path):
    batch = opened(Hands(tmp_path, joints_cam=None, intrinsics=None)).read(torch.arange(2))
    assert batch.joints_cam is batch.joint_valid_cam is batch.intrinsics is None
    assert batch.joint_valid.all()


def break_png(path):
    path.write_bytes(path.read_bytes()[:200])


FAULTS = {
    "missing image": lambda h: (h.folder / "1.png").unlink(),
    "unreadable image": lambda h: break_png(h.folder / "1.png"),
    "image size": lambda h: Image.new("RGB", (50, 60)).save(h.folder / "1.png"),
    "intrinsics": lambda h: h.entries[1].update(intrinsics=np.eye(3) * np.nan),
    "joints": lambda h: h.entries[1]["joints_cam"].__setitem__((6, 1), np.nan),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_raised_with_its_file_and_entry(tmp_path, kind):
    hands = Hands(tmp_path)
    FAULTS[kind](hands)
    with pytest.raises(DatasetError, match=r"1\.png\[#1\]") as caught:
        opened(hands).read(torch.arange(6))
    assert caught.value.fault.kind == kind


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_skipped_counted_and_named(tmp_path, kind, caplog):
    hands = Hands(tmp_path)
    FAULTS[kind](hands)
    with caplog.at_level(logging.WARNING):
        data = opened(hands, on_error="skip")
        first, again = data.read(torch.arange(5)), data.read(torch.arange(5))
    # a missing image is known at once: batches stay full; damage shows when it is read
    names = [s.entry for s in first.source]
    assert names == (["#0", "#2", "#3", "#4", "#5"] if kind == "missing image" else names)
    assert "#1" not in names
    assert len(first) == (5 if kind == "missing image" else 4)
    assert torch.equal(first.image, again.image)
    assert data.faults.counts == {kind: 1}
    assert "1.png" in str(data.faults.named[0])
    assert caplog.text.count("1.png") == 1


def test_nothing_left_is_an_error(tmp_path):
    hands = Hands(tmp_path, count=2)
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes(b"no")
    with pytest.raises(EmptyBatchError, match="none of 2 entries could be read"):
        opened(hands, on_error="skip").read(torch.arange(2))
    for name in ("0.png", "1.png"):
        (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"no usable entry; 2 x missing image; .*0\.png"):
        opened(hands, on_error="skip")


def test_folders_are_listed_and_no_image_is_looked_at_when_opening(tmp_path, monkeypatch):
    hands = Hands(tmp_path)
    for name in ("stat", "open"):
        monkeypatch.setattr(f"os.{name}", lambda *a, **k: pytest.fail("touched a file"))
    assert len(opened(hands)) == 6


def test_a_dataset_survives_a_worker_process(tmp_path):
    hands = Hands(tmp_path, mask=None, depth=None)
    data = opened(hands)
    before = data.read(torch.arange(3))
    again = pickle.loads(pickle.dumps(data)).read(torch.arange(3))
    assert torch.equal(before.image, again.image)
    assert before.source == again.source


def test_a_forked_process_reads_with_threads_of_its_own(tmp_path, monkeypatch):
    data = opened(Hands(tmp_path))
    before = data.read(torch.arange(2))
    data._pool[1].shutdown()  # a fork's copy of the pool has no living thread either
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert torch.equal(data.read(torch.arange(2)).image, before.image)


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        (np.eye(4), "expected 3x3"),
        (np.diag([500.0, 500.0, np.inf]), "not finite"),
        (np.diag([-500.0, 500.0, 1.0]), "must be positive"),
        (np.array([[500.0, 0, 0], [0, 500, 0], [10, 10, 1]]), "upper triangle"),  # transposed
    ],
)
def test_odd_intrinsics_are_described(camera, words):
    assert words in odd_intrinsics(camera)
    assert not odd_intrinsics(np.array([[500.0, 1, 112], [0, 500, 112], [0, 0, 1]]))


def test_the_fingerprint_follows_files_and_options(tmp_path):
    hands = Hands(tmp_path)
    hands.files = [tmp_path / "labels.txt"]
    (tmp_path / "labels.txt").write_text("one")
    first = opened(hands).fingerprint()
    assert opened(hands).fingerprint() == first
    assert opened(hands, size=40).fingerprint() != first
    (tmp_path / "labels.txt").write_text("two")
    assert opened(hands).fingerprint() != first
