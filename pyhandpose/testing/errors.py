"""Whether errors inside the compiled module arrive in Python: not with every C++ library."""

import os
import subprocess
import sys
from collections.abc import Mapping

WRONG_CALL = """
import torch
from pyhandpose import ops
try:
    ops.nt_xent(torch.zeros(3, 4))
except ValueError:
    raise SystemExit(0)
raise SystemExit("nt_xent took three rows for pairs")
"""

REMEDY = (
    "build with the compiler of the system that torch runs on: delete the folder build, then "
    "CXX=/usr/bin/g++ pip install --no-build-isolation --force-reinstall --no-deps ."
)


def errors_that_do_not_arrive(environment: Mapping[str, str] = os.environ) -> str | None:
    """None if a wrong argument raises ValueError in another process; otherwise what it does there.

    The compiler's own C++ library, linked into the module beside torch's, can end the process with
    a segmentation fault where an exception should be raised.
    """
    done = subprocess.run(
        [sys.executable, "-c", WRONG_CALL], capture_output=True, text=True, env=dict(environment)
    )
    if done.returncode == 0:
        return None
    last = done.stderr.strip().splitlines()[-1:] or ["without a message"]
    return f"a wrong argument ends Python with status {done.returncode}: {last[0]}"
