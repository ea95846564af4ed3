# make quickstart | make test | make build | make lint | make benchmark
#
# Each target sets up what it needs in .venv, pinned by constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY := passive

.PHONY: build
build: ## compile the extension into this checkout, with the Python of PYTHON
	$(PYTHON) setup.py build_ext --inplace
