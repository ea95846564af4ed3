"""Weighted mixtures: order, draws, determinism, and labels that only some of the parts have."""

import pytest
import torch
from PIL import Image

from pyhandpose.data.faults import DatasetError, EmptyBatchError, Fault
from pyhandpose.data.loader import epoch_batches
from pyhandpose.data.mixture import Mixture
from pyhandpose.data.registry import open_dataset
from pyhandpose.data.sample import HandBatch, Source, concatenate


class Numbers:
    """Samples whose pixels say which they are."""

    def __init__(self, name, first, count, **labels):
        self.name, self.first, self.count, self.labels = name, first, count, labels

    def __len__(self):
        return self.count

    def read(self, indices):
        value = (self.first + indices).to(torch.uint8)
        image = value[:, None, None, None].expand(-1, 4, 4, 3)
        labels = {k: v.expand(len(indices), *v.shape) for k, v in self.labels.items()}
        return HandBatch(image, **labels)

    def fingerprint(self):
        return self.name


@pytest.fixture
def parts():
    return [Numbers("few", 0, 10), Numbers("many", 100, 90)]


def pixels(batch):
    return batch.image[:, 0, 0, 0].tolist()


def test_read_in_order_it_is_the_concatenation(parts):
    data = Mixture(parts, [1, 3])
    assert len(data) == 100
    assert pixels(data.read(torch.tensor([10, 0, 99, 9]))) == [100, 0, 189, 9]


def test_an_epoch_draws_each_part_by_its_weight_with_replacement(parts):
    data = Mixture(parts, [1, 1])
    draws = torch.cat([data.epoch_order(0, epoch) for epoch in range(40)])
    assert len(draws) == 4000
    share = (draws < 10).double().mean()
    assert abs(share - 0.5) < 5 * 0.5 / 4000**0.5  # five deviations of a fair coin
    counts = torch.bincount(draws, minlength=100)
    assert counts.min() > 0
    assert counts[:10].max() < 2 * counts[:10].min()  # uniform within a part


def test_draws_are_functions_of_seed_and_epoch(parts):
    data = Mixture(parts, [1, 1])
    again = Mixture(parts, [1, 1])
    assert torch.equal(data.epoch_order(3, 7), again.epoch_order(3, 7))
    orders = {tuple(data.epoch_order(s, e).tolist()) for s in range(3) for e in range(3)}
    assert len(orders) == 9


def test_the_training_loop_s_batches_follow_the_draws(parts):
    data = Mixture(parts, [9, 1])
    batches = epoch_batches(len(data), 25, seed=1, epoch=2, draws=data)
    assert torch.equal(torch.cat(batches), data.epoch_order(1, 2))
    assert (torch.cat(batches) < 10).double().mean() > 0.7


def test_labels_that_only_some_parts_have_are_masked():
    ones = torch.ones(21, dtype=torch.bool)
    full = Numbers(
        "full",
        0,
        4,
        joints_img=torch.ones(21, 2),
        joints_cam=torch.ones(21, 3),
        intrinsics=torch.eye(3),
        joint_valid=ones,
        mask=torch.ones(4, 4, dtype=torch.bool),
    )
    flat = Numbers("flat", 50, 4, joints_img=torch.ones(21, 2), joint_valid=ones)
    bare = Numbers("bare", 90, 4)
    batch = Mixture([full, flat, bare], [1, 1, 1]).read(torch.tensor([4, 0, 8]))
    assert pixels(batch) == [50, 0, 90]
    assert batch.joint_valid.all(1).tolist() == [True, True, False]
    assert batch.joint_valid_cam.all(1).tolist() == [False, True, False]
    assert batch.joints_cam.isfinite().all(-1).all(-1).tolist() == [False, True, False]
    assert batch.intrinsics.isfinite().flatten(1).all(1).tolist() == [False, True, False]
    assert batch.joints_img[2].isnan().all()
    assert batch.mask is None  # nothing means "not known" in a mask


def test_provenance_and_the_way_back_survive_joining_and_choosing():
    image = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    crop = torch.tensor([[2.0, 0, 1], [0, 2, 3]]).expand(2, 2, 3)
    named = HandBatch(image, crop=crop, source=(Source("a", "f", "0"), Source("a", "f", "1")))
    joined = concatenate([HandBatch(image), named])
    assert [s.entry for s in joined.source] == ["", "", "0", "1"]
    chosen = joined[torch.tensor([3, 0])]
    assert [s.entry for s in chosen.source] == ["1", ""]
    points = torch.tensor([[[5.0, 7.0]], [[5.0, 7.0]]])
    assert chosen.source_points(points).tolist() == [[[2.0, 2.0]], [[5.0, 7.0]]]
    assert joined[torch.tensor([True, False, False, True])].source[1].entry == "1"


def test_images_of_different_sizes_are_refused_with_the_remedy(tmp_path):
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    data = open_dataset(f"folder:{tmp_path}?size=8@1,folder:{tmp_path}?size=9@1")
    with pytest.raises(ValueError, match=r"one size, got \[\(8, 8\), \(9, 9\)\].*\?size=224"):
        data.read(torch.arange(2))


def test_a_part_that_must_skip_everything_leaves_the_others(parts):
    class Broken(Numbers):
        def read(self, indices):
            raise EmptyBatchError(Fault("empty batch", "x", "none"))

    data = Mixture([parts[0], Broken("broken", 0, 5)], [1, 1])
    assert pixels(data.read(torch.tensor([11, 3]))) == [3]
    with pytest.raises(DatasetError, match="none"):
        data.read(torch.tensor([11]))


def test_specs_are_split_at_names_only_and_weighed(tmp_path):
    odd = tmp_path / "a,b@2"
    odd.mkdir()
    Image.new("RGB", (30, 30)).save(odd / "a.png")
    assert len(open_dataset(f"folder:{odd}?size=8")) == 1
    data = open_dataset(f"folder:{odd}?size=8@2.5,folder:{odd}?size=8@0.5")
    assert len(data) == 2
    assert data.weights.tolist() == [2.5, 0.5]
    assert data.name.endswith("@0.5")
    other = open_dataset(f"folder:{odd}?size=8@1,folder:{odd}?size=8@1")
    assert other.fingerprint() != data.fingerprint()
    with pytest.raises(ValueError, match=r"weight in .*: expected a positive number, got '-1'"):
        open_dataset(f"folder:{odd}?size=8@-1,folder:{odd}?size=8@1")
