"""Loads the compiled module ``_C``, whose registrations make ``torch.ops.pyhandpose``.

A module that was built against another torch is refused by name: its symbols may be missing, or
worse, be there and mean something else.
"""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

REMEDY = "rebuild against it with: pip install --no-build-isolation --force-reinstall --no-deps ."


def read_build() -> dict[str, Any]:
    """What ``setup.py`` noted of the build; ImportError where there has been none."""
    path = Path(__file__).with_name("_build.json")
    try:
        build: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise ImportError(
            "pyhandpose: the compiled extension is missing. In a checkout run `make build` (or "
            "`python setup.py build_ext --inplace`); otherwise `pip install --no-build-isolation .`"
        ) from None
    return build


def check_torch(built: str, installed: str) -> None:
    """ImportError unless the installed torch is the one built against, version and variant."""
    if built != installed:
        raise ImportError(
            f"pyhandpose: built against torch {built}, but torch {installed} is installed; "
            f"{REMEDY}, or install torch {built}"
        )


BUILD = read_build()
check_torch(BUILD["torch"], torch.__version__)

# After the check, without which a module for another torch would fail to load with no reason given.
_C: Any = importlib.import_module("pyhandpose._C")


def register_gradient(
    op: str, backward: Callable[..., Any], setup_context: Callable[..., Any]
) -> None:
    """Register the first derivative of an op, and the refusal of a second one.

    ``backward`` calls ``torch.ops.pyhandpose.<op>_backward``. Under autocast the op computes in
    float32, as torch's own losses do.
    """

    def refuse(ctx: Any, *grads: Any) -> NoReturn:
        raise RuntimeError(
            f"pyhandpose.{op}: second derivatives are not available; for them use the plain "
            f"PyTorch twin pyhandpose.reference.{op}"
        )

    torch.library.register_autograd(f"pyhandpose::{op}", backward, setup_context=setup_context)
    torch.library.register_autograd(f"pyhandpose::{op}_backward", refuse)
    for device_type in ("cpu", "cuda"):
        torch.library.register_autocast(f"pyhandpose::{op}", device_type, torch.float32)


active_isa: str = _C.active_isa()
with_cuda: bool = _C.with_cuda
synthetic: Any = _C.synthetic
"""The renderer of the synthetic world, see ``pyhandpose.data.synthetic``."""
