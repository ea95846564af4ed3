import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_report
from benchmarks.comparison import OURS
from benchmarks.report import fill, plain, table, write_reports
from benchmarks.results import CaseResult, Measurement, OpResults, read_all, slug
from benchmarks.targets import TARGETS, outcomes

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "kind": "cpu",
    "device": "Some CPU, 2 cores",
    "memory_bytes": 16e9,
    "command": "make benchmark",
    "date": "2026-01-02 03:04 UTC",
    "commit": "abc",
    "python": "3.11",
    "torch": "2.11",
    "instruction_set": "avx2",
    "threads": {"OMP_WAIT_POLICY": "passive"},
}
BOTH = "forward+backward"


def measured(op="equivariant_nt_xent", letter="M", kind="cpu", **seconds):
    """Results whose times grow as M^2, of providers by their seconds at M = 4,096."""
    cases = [
        CaseResult(
            M,
            BOTH,
            {"temperature": 0.5},
            {
                name: Measurement(
                    seconds=[s * (M / 4096) ** 2] * 3, bytes=M * 10_000, error={"outputs": 1e-7}
                )
                for name, s in seconds.items()
            },
        )
        for M in (4096, 8192, 16_384)
    ]
    environment = {**ENVIRONMENT, "kind": kind}
    return OpResults(op, letter, 2, 4096, "a note", {}, environment, cases)


def test_results_survive_json(tmp_path):
    results = measured(pyhandpose=0.05, lightly=0.4)
    results.cases[0].providers["lightly"] = Measurement(status="lightly is not installed")
    path = results.write(tmp_path)
    assert path.name == "equivariant_nt_xent--some-cpu-2-cores.json"
    assert json.loads(path.read_text())["cases"][1]["providers"]["lightly"]["bytes"] == 81_920_000
    assert list(read_all(tmp_path)) == [results]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_slug():
    assert slug("NVIDIA H200 (80GB)") == "nvidia-h200-80gb"


def verdicts(results):
    return {
        (o.target.size, o.target.kind, o.target.rivals): (o.measured, o.verdict)
        for o in outcomes([results])
        if o.target.op == results.op and o.target.device == "cpu"
    }


def test_the_fastest_eager_decides_a_target():
    results = measured(
        **{OURS: 0.05, "eager cross_entropy": 0.15, "eager logsumexp": 0.3, "lightly": 0.4}
    )
    found = verdicts(results)
    eager = ("eager cross_entropy", "eager logsumexp")
    assert found[4096, "ratio", eager] == ("3.0x", "NOT reached")
    assert found[4096, "ratio", ("lightly",)] == ("8.0x", "reached")
    # 4 M D floats and 64 MB are 80.8 MB at 8,192 rows.
    assert found[4096, "bytes", ()] == ("41 MB", "reached")
    assert found[8192, "bytes", ()] == ("82 MB", "NOT reached")


def test_what_was_not_measured_says_so():
    rows = outcomes([measured(pyhandpose=0.05)])
    assert len(rows) == len(TARGETS)
    on_gpu = [row for row in rows if row.target.device == "cuda"]
    assert on_gpu
    assert {(row.measured, row.verdict) for row in on_gpu} == {("not measured", "not measured")}


def test_a_block_is_replaced_between_its_markers_and_nothing_else():
    text = "a\n<!-- begin benchmark x -->\nold\n<!-- end benchmark x -->\nb\n"
    filled = fill(text, {"x": "new", "y": "nowhere"})
    assert filled == text.replace("old", "new")
    assert fill(filled, {"x": "new"}) == filled


def test_documents_tables_and_plots_are_written(tmp_path):
    results, docs = tmp_path / "results", tmp_path / "docs"
    measured(pyhandpose=0.05, lightly=0.4).write(results)
    docs.mkdir()
    page = docs / "benchmarks.md"
    page.write_text((ROOT / "docs" / "benchmarks.md").read_text())
    summary = write_reports(results, docs)
    text = page.read_text()
    assert "M^2.00" in summary
    assert "M^1.00" in summary
    assert "make benchmark" in text
    assert "lightly **8x**" in text
    assert "GPU: not measured" in text
    assert "- `equivariant_nt_xent`: a note\n" in text
    assert "Measured: equivariant_nt_xent." in text
    assert "(figures/benchmark--some-cpu-2-cores.png)" in text
    assert (docs / "figures" / "benchmark--some-cpu-2-cores.png").stat().st_size > 1000


def test_tables_line_up():
    assert plain(table(["a", "b"], [["long", "x"]])).splitlines() == ["a     b", "long  x"]


def test_gpu_report_without_a_gpu_says_so_and_fails():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, "-m", "benchmarks.gpu_report"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert "sees no GPU" in run.stderr
    assert "not measured" in run.stderr


def test_gpu_report_tells_missing_packages_from_failures(tmp_path):
    path = tmp_path / "tests.xml"
    path.write_text(
        """<testsuites><testsuite>
        <testcase classname="a" name="works"/>
        <testcase classname="a" name="skips"><skipped message="no"/></testcase>
        <testcase classname="a" name="breaks"><failure message="assert 0">no</failure></testcase>
        <testcase name="tests.b"><error message="collection failure">
        ModuleNotFoundError: No module named 'roma'</error></testcase>
        <testcase name="tests.c"><error message="collection failure">SyntaxError</error></testcase>
        </testsuite></testsuites>"""
    )
    counts, missing, broken = gpu_report.read_tests(path)
    assert counts == "1 passed, 2 failed, 1 skipped"
    assert missing == ["tests.b needs roma"]
    assert broken == ["a.breaks", "tests.c"]
