import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    """Every op test runs on both devices; without a GPU the second says why it does not."""
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no GPU on this machine")
        from pyhandpose import _extension

        if not _extension.with_cuda:
            pytest.skip(f"built without CUDA: {_extension.BUILD['cuda_left_out']}")
    return request.param


@pytest.fixture(scope="session")
def real_data():
    """The folder of real photos (research use only, never part of the project)."""
    folder = Path(os.environ.get("PYHANDPOSE_REAL_DATA", ROOT.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip(f"no real photos at {folder}")
    return folder
