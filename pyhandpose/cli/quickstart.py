"""``pyhandpose quickstart``: the library's claim, on this machine, in minutes."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pyhandpose.experiments.quickstart import FAST, Quickstart, QuickstartConfig
from pyhandpose.experiments.quickstart_report import table, verdict, write_report
from pyhandpose.predict import default_checkpoint
from pyhandpose.training.checkpoint import CheckpointError
from pyhandpose.training.loop import TrainingError, TrainingStoppedError

DESCRIPTION = """See PeCLR beat SimCLR and training from scratch, on this machine.

Renders a synthetic world of hands (cached), pre-trains three encoders without labels, compares them
with training from scratch by a linear probe and by fine-tuning with few labels, and trains the
model that `pyhandpose predict` uses when it is given none. About 13 minutes on two cores, under 3
with --fast. Trainings run side by side where there is more than one core; what they print goes to
OUT/runs/output.txt. Ctrl-C stops after the step; the same command goes on from there.

Read OUT/report.md when it is done.
"""


@dataclass(frozen=True)
class Options:
    """Options of ``pyhandpose quickstart``."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for the report and the runs; default quickstart, or quickstart-fast with --fast."""
    fast: bool = False
    """A small version, to see that everything works; too short to support the claim."""


def main(argv: list[str]) -> int:
    """Run the command; the exit status."""
    options = tyro.cli(Options, prog="pyhandpose quickstart", description=DESCRIPTION, args=argv)
    config = FAST if options.fast else QuickstartConfig()
    out = options.out or Path("quickstart-fast" if options.fast else "quickstart")
    model_folder = default_checkpoint()
    start = time.perf_counter()
    quickstart = Quickstart(config, out, model_folder)
    try:
        result = quickstart.run()
        written = write_report(quickstart, " ".join(["pyhandpose", "quickstart", *argv]))
    except TrainingStoppedError as stopped:
        print(f"pyhandpose quickstart: {stopped}; the same command goes on", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("pyhandpose quickstart: stopped; the same command goes on", file=sys.stderr)
        return 130
    except CheckpointError as error:
        print(
            f"pyhandpose quickstart: {error}\nIf {out} holds runs of other settings or of another "
            "version, remove it or give another folder with --out",
            file=sys.stderr,
        )
        return 2
    except (ValueError, OSError, ImportError, TrainingError) as error:
        print(f"pyhandpose quickstart: {error}", file=sys.stderr)
        return 2
    print(f"\n{table(result)}\n\n{verdict(result)}\n")
    print(
        f"{(time.perf_counter() - start) / 60:.1f} minutes; written to {out}: {', '.join(written)}"
    )
    print(f"model for `pyhandpose predict`: {model_folder}")
    return 0
