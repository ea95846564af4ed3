import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace

import pytest
import torch

from pyhandpose.methods import build_method
from pyhandpose.training.loop import TrainingError, train
from pyhandpose.training.side_by_side import Job, number_of_processes, run_side_by_side


@pytest.fixture(autouse=True)
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def job(folder, function, *arguments):
    return Job(function.__name__, folder, 1, function, arguments)


def report(value):
    print("said", value)
    return value, os.getpid(), torch.get_num_threads()


def fail(text):
    raise ValueError(text)


def die():
    os._exit(1)


def train_for_hours(run, dataset, method, config):
    train(method, dataset, config, run)


def test_calls_share_the_cores_and_return_in_order(tmp_path):
    output = tmp_path / "output.txt"
    results = run_side_by_side([job(tmp_path, report, i) for i in range(4)], output)
    values, processes, threads = zip(*results, strict=True)
    assert values == (0, 1, 2, 3)
    assert os.getpid() not in processes
    assert set(threads) == {1}
    assert sorted(output.read_text().splitlines()) == [f"said {i}" for i in range(4)]


def test_no_core_waits_for_the_last_job():
    assert [number_of_processes(3, threads) for threads in (1, 2, 4)] == [1, 3, 3]
    assert number_of_processes(12, 2) == 2


def test_one_process_is_this_one(tmp_path):
    ((_, process, threads),) = run_side_by_side([job(tmp_path, report, 1)], tmp_path / "output.txt")
    assert (process, threads) == (os.getpid(), 2)


def test_what_a_call_raises_is_raised_here(tmp_path):
    jobs = [job(tmp_path, fail, "no such thing"), job(tmp_path, report, 1)]
    with pytest.raises(ValueError, match="no such thing"):
        run_side_by_side(jobs, tmp_path / "output.txt")


def test_a_killed_process_is_named_as_that(tmp_path):
    with pytest.raises(TrainingError, match="a process that trained was killed"):
        run_side_by_side([job(tmp_path, die), job(tmp_path, die)], tmp_path / "output.txt")


def test_an_interruption_saves_every_training(tmp_path, blobs, small_peclr, small_train):
    config = replace(small_train, epochs=100_000, checkpoint_every=100_000)
    runs = [tmp_path / name for name in ("first", "second")]
    jobs = [
        job(run, train_for_hours, run, blobs(64), build_method(small_peclr, 0), config)
        for run in runs
    ]

    def interrupt():
        logs = [run / "log.jsonl" for run in runs]
        while not all(log.exists() and log.stat().st_size for log in logs):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_side_by_side(jobs, tmp_path / "output.txt")
    assert all((run / "checkpoints" / "latest.json").exists() for run in runs)
    assert not multiprocessing.active_children()
