import json
from dataclasses import replace

import pytest
import torch

from pyhandpose.experiments import quickstart as module
from pyhandpose.experiments.quickstart import Quickstart, QuickstartConfig, QuickstartResult
from pyhandpose.experiments.quickstart_report import report, verdict, write_report

MICRO = QuickstartConfig(
    num_images=256,
    num_test=32,
    image_size=32,
    epochs=1,
    probe_labels=(64, 256),
    finetune_labels=(64,),
    finetune_steps=2,
    num_seeds=2,
    model_epochs=1,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The whole quick start at the smallest size, its stages run for real."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("quickstart")
    patch.setenv("PYHANDPOSE_CACHE", str(folder / "cache"))
    quickstart = Quickstart(MICRO, folder / "out", folder / "model", processes=2)
    quickstart.run()
    write_report(quickstart, "pyhandpose quickstart")
    yield quickstart
    patch.undo()


def test_every_contestant_is_measured_by_probe_and_by_finetuning(finished):
    names = ["PeCLR", "SimCLR, own views", "SimCLR, same views", "scratch"]
    assert list(finished.result.probe) == list(finished.result.finetune) == names
    for name in names:
        assert set(finished.result.probe[name]) == {64, 256}
        assert len(finished.result.probe[name][64]) == MICRO.num_seeds
        assert all(seed["epe_2d"] > 0 for seed in finished.result.finetune[name][64])


def test_the_report_and_its_files_are_there_and_agree_with_the_record(finished):
    record = json.loads((finished.out / "results.json").read_text())
    text = (finished.out / "report.md").read_text()
    assert f"{record['claim_ratio']:.3f}" in text
    assert (finished.out / "label-efficiency.png").stat().st_size > 1000
    assert (finished.out / "examples.png").stat().st_size > 1000
    assert "pyhandpose quickstart" in text


def test_the_model_for_predict_can_be_loaded(finished):
    from pyhandpose.training.checkpoint import load_method

    method, config = load_method(finished.model_folder)
    assert config["method"] == "supervised"
    assert method(torch_view(finished)).shape == (2, 21, 3)


def torch_view(finished):
    from pyhandpose.evaluation.evaluate import resize_view

    return resize_view(finished.test_data.read(torch.arange(2)), 64)


def test_a_second_run_repeats_no_training_and_gives_the_same_numbers(finished, monkeypatch):
    steps = []
    real = module.train

    def counting(method, data, config, folder, resume):
        assert resume, f"{folder} was trained before"
        steps.append(folder)
        return real(method, data, config, folder, resume=resume)

    monkeypatch.setattr(module, "train", counting)
    again = Quickstart(MICRO, finished.out, finished.model_folder, processes=1)
    assert again.run().probe == finished.result.probe
    assert again.result.finetune == finished.result.finetune
    assert steps


def test_probe_errors_vanish_when_the_features_are_the_pose(finished):
    """Features from which the pose is linear give next to no error."""
    train, test = finished.train_poses, finished.test_poses
    errors = module.probe_errors(train.target.flatten(1), train, test.target.flatten(1), test)
    assert errors["epe_2d"] < 0.05
    assert errors["pa_epe"] < 0.5


@pytest.mark.parametrize(("peclr", "reached"), [(6.0, True), (9.5, False)])
def test_the_verdict_says_which_way_it_came_out(finished, peclr, reached):
    result = QuickstartResult(replace(MICRO))
    values = {"PeCLR": peclr, "SimCLR, own views": 8.0, "SimCLR, same views": 9.0, "scratch": 10.0}
    for name, value in values.items():
        seeds = [{"epe_2d": value, "pa_epe": value}] * 2
        result.probe[name] = {64: seeds, 256: seeds}
        result.finetune[name] = {64: seeds}
    result.mean_pose = {"epe_2d": 10.0, "pa_epe": 20.0}
    result.model = {"epe_2d": 3.0, "pa_epe": 10.0}
    text = verdict(result)
    assert ("NOT" not in text) == reached
    assert f"{peclr / 8:.3f}" in text
    assert "50 % below" in text
    result.model["pa_epe"] = 25.0
    assert "25 % ABOVE the mean pose's" in verdict(result)
    assert "| mean pose" in report(result, "x")
