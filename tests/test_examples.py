import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_runs(script, tmp_path):
    run = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout


def test_the_readme_shows_the_example_as_it_is():
    """The op example in the README is the one that is run here."""
    code = (ROOT / "examples" / "ops_tour.py").read_text().split('"""\n\n', 1)[1]
    assert code in (ROOT / "README.md").read_text()
