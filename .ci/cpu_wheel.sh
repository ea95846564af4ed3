#!/usr/bin/env bash
# Builds a wheel in an environment that has torch, the build tools and pytest and nothing else,
# installs it, and runs the op tests away from the checkout: the ops need torch alone.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
python=("$work/venv/bin/python")
pip=("${python[@]}" -m pip --disable-pip-version-check --quiet)
# The CPU-only build of torch that CI can install.
"${pip[@]}" install torch==2.13.0 setuptools wheel cmake ninja
started=$SECONDS
"${python[@]}" -c "import torch; assert torch.version.cuda is None, torch.__version__"
"${pip[@]}" wheel --no-build-isolation --no-deps -w "$work/dist" "$root"
echo "wheel built in $((SECONDS - started)) s"
"${pip[@]}" install --no-deps "$work"/dist/pyhandpose-*.whl
mkdir "$work/outside"
cp -r "$root/tests/ops" "$root/tests/conftest.py" "$root/pyproject.toml" "$work/outside"
cd "$work/outside"
"${python[@]}" - <<'PY'
import sys

import pyhandpose.ops
import torch
from pyhandpose import _extension

assert "site-packages" in pyhandpose.__file__, pyhandpose.__file__
assert torch.version.cuda or not _extension.with_cuda
assert not {"torchvision", "timm", "scipy", "matplotlib", "tyro"} & set(sys.modules)
print("torch", torch.__version__, "CUDA kernels:", _extension.with_cuda, _extension.active_isa)
PY
"${pip[@]}" install numpy scipy roma hypothesis pytest pytest-timeout  # what the tests compare with
"${python[@]}" -m pytest -p no:cacheprovider ops
