# make quickstart   see PeCLR beat SimCLR and training from scratch (13 minutes on two cores)
# make test         run the tests
# make lint         format, lint and type checks
# make benchmark    each op against its rivals, on the CPU (15 minutes on two cores)
# make gpu-report   build, CUDA tests, sanitizer and benchmark on a GPU (9 minutes; no .venv: PYTHON= has torch)
# make build        compile the extension anew after a change of the C++ or CUDA sources
#
# Each sets up what it needs in .venv first, pinned by constraints.txt. PYTHON= chooses the Python.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt
SOURCES := CMakeLists.txt setup.py $(shell find csrc -name '*.h' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.cu')
# Waiting threads that spin would take the cores from those that others' timings and tests need.
test benchmark gpu-report: export OMP_WAIT_POLICY := passive

.PHONY: quickstart test benchmark gpu-report lint format build
quickstart: $(VENV)/.built
	$(BIN)/pyhandpose quickstart

test: $(VENV)/.built $(VENV)/.test
	$(BIN)/python -m pytest

benchmark: $(VENV)/.built $(VENV)/.test
	$(BIN)/python -m pytest benchmarks/compare_rivals.py -q -o addopts= --benchmark-quiet --called-as "make benchmark"

gpu-report:
	$(PYTHON) -m benchmarks.gpu_report

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.h' 'csrc/*.cuh' 'csrc/*.cpp' 'csrc/*.cu' 'tests/*.cpp')
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files 'csrc/*.h' 'csrc/*.cuh' 'csrc/*.cpp' 'csrc/*.cu' 'tests/*.cpp')

build: $(VENV)/.torch
	$(PIP) --no-build-isolation --editable .
	@touch $(VENV)/.built

$(VENV)/.torch: constraints.txt
	@echo "Setting up $(VENV): torch and torchvision (a few minutes, once)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch torchvision setuptools wheel cmake ninja
	@touch $@

$(VENV)/.built: $(VENV)/.torch pyproject.toml $(SOURCES)
	@echo "Building pyhandpose and installing what it needs"
	$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.built pyproject.toml constraints.txt
	$(PIP) --no-build-isolation --editable '.[test,dev]'
	@touch $@
