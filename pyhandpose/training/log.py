"""What a run leaves beside its weights: settings, environment, command, metrics, a picture."""

from __future__ import annotations

import io
import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import pyhandpose
from pyhandpose.data.augment import View, denormalise
from pyhandpose.data.registry import Dataset
from pyhandpose.data.whole_file import write_bytes, write_json, write_text
from pyhandpose.methods import Method
from pyhandpose.plot.contact_sheet import contact_sheet
from pyhandpose.training.config import TrainConfig, to_dict


def environment() -> dict[str, Any]:
    """Versions, machine and threads: what else a run's numbers depend on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "pyhandpose": pyhandpose.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY"),
        "cuda_device": device,
    }


def run_settings(method: Method, data: Dataset, config: TrainConfig) -> dict[str, Any]:
    """What decides a run's result: method, network, training, data."""
    return {
        "method": type(method).__name__,
        "network": to_dict(method.config),
        "train": to_dict(config),
        "data": {"name": data.name, "num_images": len(data), "fingerprint": data.fingerprint()},
    }


def describe_run(run_dir: Path, settings: dict[str, Any]) -> None:
    """Write ``config.json``, ``environment.json`` and ``command.txt`` into the run's folder."""
    write_json(run_dir / "config.json", settings)
    write_json(run_dir / "environment.json", environment())
    program = Path(sys.argv[0]).stem
    command = ["pyhandpose" if program in ("__main__", "pyhandpose") else sys.argv[0]]
    write_text(run_dir / "command.txt", shlex.join(command + sys.argv[1:]) + "\n")


class MetricLog:
    """``log.jsonl``: one JSON object per line, in order of ``step``."""

    def __init__(self, path: Path, last_step: int) -> None:
        """Open the log of a run that goes on after ``last_step``; later lines are dropped."""
        self._path = path
        lines = read_log(path) if path.exists() else []
        kept = [json.dumps(line) + "\n" for line in lines if line["step"] <= last_step]
        write_text(path, "".join(kept))

    def append(self, line: dict[str, Any]) -> None:
        """Add a line; it is in the file when this returns."""
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a ``log.jsonl``; a last line cut short by a crash is left out."""
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


def save_view_picture(path: Path, view: View, num_views: int, columns: int = 12) -> None:
    """A picture of augmented views, those of one image below one another."""
    from PIL import Image

    num_images = len(view) // num_views
    columns = min(columns, num_images)
    rows = [view.image[i * num_images : i * num_images + columns] for i in range(num_views)]
    levels = 255 * denormalise(torch.cat(rows).float().cpu())  # (N,3,S,S)
    pixels = levels.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    picture = io.BytesIO()
    Image.fromarray(contact_sheet(pixels, columns=columns)).save(picture, format="PNG")
    write_bytes(path, picture.getvalue())
