"""Every case of every op, as one pytest-benchmark test each: `python -m pytest <this file>`.

pytest-benchmark plays the rounds; what it times is a round of all rivals together, which the report
does not use. The harness has each rival's own times.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks.comparison import Case


def test_rivals(op: str, case: Case, recorder: Any, benchmark: Any) -> None:
    run = recorder.harness_of(op).run(case)
    benchmark.group = op
    benchmark.pedantic(run.play_round, rounds=max(1, run.rounds), iterations=1)
    result = run.finish()
    benchmark.extra_info.update(asdict(result))
    recorder.add(op, result)
