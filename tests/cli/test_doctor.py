import json

import pytest

from pyhandpose.cli import doctor


def test_a_healthy_environment_has_no_fault(capsys, monkeypatch):
    monkeypatch.setattr(
        doctor, "SECTIONS", (doctor.python_and_machine, doctor.torch_and_gpu, doctor.extension)
    )
    assert doctor.main([]) == 0
    assert "no faults" in capsys.readouterr().out


def test_json_holds_every_finding(capsys):
    doctor.main(["--json"])
    topics = {finding["topic"] for finding in json.loads(capsys.readouterr().out)}
    assert {"pyhandpose", "torch", "extension", "cpu kernels", "cuda kernels", "threads"} <= topics


def test_a_build_whose_errors_end_python_is_a_fault_with_its_remedy(monkeypatch):
    from pyhandpose.testing import errors

    assert doctor.errors_of_ops().level == "ok"
    monkeypatch.setattr(errors, "WRONG_CALL", "import os; os.abort()")
    fault = doctor.errors_of_ops()
    assert fault.level == "fault"
    assert "ends Python with status -6" in fault.text
    assert "CXX=" in fault.remedy


@pytest.mark.parametrize(
    ("error", "text", "remedy"),
    [
        (ModuleNotFoundError("no", name="torchvision"), "missing", "pip install torchvision"),
        (
            RuntimeError("operator torchvision::nms does not exist"),
            "installed but broken",
            "install the torch and torchvision that belong together",
        ),
        (AssertionError(), "AssertionError", "belong together"),  # an error without a text
    ],
)
def test_a_missing_or_broken_torchvision_has_a_remedy(monkeypatch, error, text, remedy):
    real = doctor.importlib.import_module

    def import_module(name):
        if name == "torchvision":
            raise error
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", import_module)
    finding = next(f for f in doctor.packages() if f.topic == "torchvision")
    assert finding.level == "fault"
    assert text in finding.text
    assert remedy in finding.remedy


def test_a_missing_extra_is_a_note(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    finding = next(f for f in doctor.packages() if f.topic.startswith("opencv"))
    assert finding.level == "note"
    assert "pyhandpose[opencv]" in finding.remedy


def test_threads_that_oversubscribe_are_a_fault_with_the_setting_to_make(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 4096)
    fault = next(f for f in doctor.threads() if f.topic == "threads")
    assert fault.level == "fault"
    assert fault.remedy.startswith("export OMP_NUM_THREADS=")


def test_a_missing_extension_is_a_fault_and_the_exit_status_says_so(monkeypatch, capsys):
    real = doctor.importlib.import_module

    def import_module(name):
        if name == "pyhandpose._extension":
            raise ImportError("the compiled extension is missing")
        return real(name)

    monkeypatch.setattr(doctor.importlib, "import_module", import_module)
    monkeypatch.setattr(doctor, "SECTIONS", (doctor.extension,))
    assert doctor.main([]) == 1
    assert "remedy: make build" in capsys.readouterr().out
