import pytest
import torch

from pyhandpose.data.loader import derived_seed, epoch_batches, label_subset


def test_an_epoch_visits_each_sample_at_most_once_in_whole_batches():
    batches = epoch_batches(10, 4, seed=0, epoch=0)
    assert [len(b) for b in batches] == [4, 4]
    assert len(torch.cat(batches).unique()) == 8


def test_epochs_and_seeds_shuffle_differently_and_repeatably():
    def order(seed, epoch):
        return torch.cat(epoch_batches(64, 16, seed, epoch)).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(s, e)) for s in range(3) for e in range(3)}) == 9


def test_fewer_samples_than_a_batch_make_one_batch():
    batches = epoch_batches(5, 64, seed=0, epoch=0)
    assert [len(b) for b in batches] == [5]


@pytest.mark.parametrize(("num", "size"), [(0, 4), (4, 0)])
def test_empty_epochs_are_refused(num, size):
    with pytest.raises(ValueError, match="epoch_batches: expected at least one sample"):
        epoch_batches(num, size, 0, 0)


def test_fewer_labels_are_a_part_of_more():
    few, more = (set(label_subset(1000, n, seed=3).tolist()) for n in (64, 256))
    assert len(few) == 64
    assert few < more
    assert set(label_subset(1000, 64, seed=4).tolist()) != few
    assert label_subset(10, 10).tolist() == list(range(10))


@pytest.mark.parametrize("num", [0, 11])
def test_impossible_numbers_of_labels_are_refused(num):
    with pytest.raises(ValueError, match="expected 1 to 10 labels"):
        label_subset(10, num)


def test_derived_seeds_do_not_collide_for_neighbouring_paths():
    seeds = {derived_seed(s, a, b) for s in range(10) for a in range(10) for b in range(10)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(0, 1) != derived_seed(0, 0, 1)
