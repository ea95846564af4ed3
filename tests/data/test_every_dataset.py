"""What must hold for each dataset alike: damaged images, mixtures, workers, the check."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from pyhandpose.data.check import check_dataset
from pyhandpose.data.faults import DatasetError
from pyhandpose.data.registry import FORMS, open_dataset
from tests.data.fixtures import (
    dexter_object,
    egodexter,
    freihand,
    ganerated,
    ho3d,
    interhand,
    rhd,
    stb,
    synthhands,
    youtube3d,
)

WRITERS = {
    "freihand": lambda root: freihand.write_freihand(root, hands=2, evaluation=1),
    "yt3d": lambda root: youtube3d.write_youtube3d(root, count=3),
    "ho3d": lambda root: ho3d.write(root, train=2, evaluation=0),
    "rhd": lambda root: rhd.write(root, count=2),
    "stb": lambda root: stb.write(root, sequences=("B2Random",)),
    "dexter": lambda root: dexter_object.write(root, sequences=("Pinch",), frames=2),
    "egodexter": lambda root: egodexter.write(root, sequences=("Desk",), frames=2),
    "synthhands": lambda root: synthhands.write(root, frames=1),
    "ganerated": lambda root: ganerated.write(root, frames=1),
    "interhand": interhand.write,
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Every dataset on disk, by its name; the caches go there too."""
    folder = tmp_path_factory.mktemp("datasets")
    for kind, write in WRITERS.items():
        (folder / kind).mkdir()
        write(folder / kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYHANDPOSE_CACHE", str(folder / "cache"))
        yield {kind: folder / kind for kind in WRITERS}


def test_there_is_a_fixture_for_every_dataset_of_files():
    assert set(WRITERS) == set(FORMS) - {"folder", "synthetic"}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_whole_dataset_passes_the_check(kind, roots):
    (report,) = check_dataset(open_dataset(f"{kind}:{roots[kind]}?size=32&on_error=skip"))
    assert report.problems == []
    assert report.images == report.entries > 0
    assert report.left == 0 or kind not in ("freihand", "ho3d")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("damage", ["gone", "cut", "smaller"])
def test_a_damaged_image_is_named_or_counted(kind, damage, roots, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(roots[kind], root)
    data = open_dataset(f"{kind}:{root}?size=16")
    first = torch.tensor([0])
    path = Path(data.read(first).source[0].file)
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    else:
        Image.open(path).reduce(2).save(path)
    with pytest.raises(DatasetError, match=path.name):
        data.read(first)
    skipping = open_dataset(f"{kind}:{root}?size=16&on_error=skip")
    batch = skipping.read(torch.arange(len(skipping)))
    assert str(path) not in {source.file for source in batch.source}
    # InterHand2.6M's images may show two hands
    assert sum(skipping.faults.counts.values()) == len(data) - len(batch) > 0
    expected = {"gone": "missing image", "cut": "unreadable image", "smaller": "image size"}
    assert set(skipping.faults.counts) == {expected[damage]}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_dataset_can_be_sent_to_a_worker(kind, roots):
    data = open_dataset(f"{kind}:{roots[kind]}?size=16")
    copy = pickle.loads(pickle.dumps(data))
    indices = torch.arange(len(data))
    assert copy.read(indices).image.equal(data.read(indices).image)
    assert copy.fingerprint() == data.fingerprint()


@pytest.mark.parametrize("kind", WRITERS)
def test_the_fingerprint_changes_with_the_options(kind, roots):
    assert (
        open_dataset(f"{kind}:{roots[kind]}?size=16").fingerprint()
        != open_dataset(f"{kind}:{roots[kind]}?size=17").fingerprint()
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("stb", ["wrist=palm", "wrist=none", "wrist_factor=1.5", "camera=bb_left"]),
        ("synthhands", ["background=keep", "background_seed=1", "fresh=true", "objects=with"]),
    ],
)
def test_what_changes_samples_changes_the_fingerprint(kind, options, roots):
    prints = [
        open_dataset(f"{kind}:{roots[kind]}?{o}").fingerprint() for o in ["size=224", *options]
    ]
    assert len(set(prints)) == len(prints)


def test_all_of_them_make_one_batch(roots):
    spec = ",".join(f"{kind}:{root}?size=48@1" for kind, root in roots.items())
    mixture = open_dataset(spec)
    batch = mixture.read(torch.arange(len(mixture)))
    assert {source.dataset for source in batch.source} == set(WRITERS)
    joints = batch.joints_cam[batch.joint_valid_cam]
    assert joints.isfinite().all()
    assert (joints[:, 2] > 0.1).all()
    assert (joints.abs() < 2).all()
    assert batch.joints_img[batch.joint_valid].isfinite().all()
    assert (batch.joint_valid | ~batch.joint_valid_cam).all()
