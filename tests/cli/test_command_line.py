"""``pyhandpose`` itself: what it says before a command runs."""

import importlib

import pytest

import pyhandpose
from pyhandpose.__main__ import COMMANDS, main


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_the_commands_are_listed(argv, capsys):
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == pyhandpose.__version__


def test_an_unknown_command_is_named_beside_the_known(capsys):
    assert main(["evalaute"]) == 2
    message = capsys.readouterr().err
    assert "unknown command 'evalaute'" in message
    assert "evaluate" in message


def test_a_missing_package_is_named_and_not_a_traceback(monkeypatch, capsys):
    def import_module(name):
        raise ModuleNotFoundError("No module named 'tyro'", name="tyro")

    monkeypatch.setattr(importlib, "import_module", import_module)
    assert main(["evaluate"]) == 2
    message = capsys.readouterr().err
    assert "No module named 'tyro'" in message
    assert "pyhandpose doctor" in message


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "doctor"])
def test_every_command_explains_itself_and_its_options(command, capsys):
    with pytest.raises(SystemExit) as exit_status:
        main([command, "--help"])
    assert exit_status.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: pyhandpose {command}" in text
    assert "--out" in text
