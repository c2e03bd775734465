# Everything starts here. `make train` and `make test` set up what they need.
PYTHON ?= python3
CONFIG ?= configs/small.yaml
BIN := .venv/bin
# One worker for each core, at most two; each with one thread, so that they do not get in each other's way.
PARALLEL := --numprocesses auto --maxprocesses 2 --dist worksteal

.PHONY: help train test test-slow test-gpu torture guide pretrained lint format bench bench-gpu clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

train: .venv/installed  ## Install, train configs/small.yaml, draw the loss curve and the attention map
	$(BIN)/seqrev train --config $(CONFIG)

test: .venv/installed-dev lint  ## Install the development tools; run lint, types and tests with coverage
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PARALLEL) --cov=seqrev --cov-report=term:skip-covered --cov-fail-under=90

test-slow: .venv/installed-dev  ## Run the long tests: the promises of configs/*.yaml over five seeds
	$(BIN)/pytest -m slow

torture: .venv/installed-dev  ## Kill trainings, fail the disk, damage files: the long tier of docs/reliability.md
	$(BIN)/python -m tests.torture

guide: .venv/installed-dev  ## Run the guide's code and write its outputs, pictures and notebooks anew (three trainings)
	$(BIN)/python -m tests.docs.guide
	$(BIN)/python -m tests.docs.notebooks

pretrained: .venv/installed-dev  ## Train configs/small.yaml, and put the run into the package as `--run pretrained`
	$(BIN)/python -m tests.pretrained

bench: .venv/installed  ## Time this project beside a plain nn.Transformer script; a quarter of an hour, on a quiet machine
	$(BIN)/python benchmarks/speed.py

lint: .venv/installed-dev  ## Check style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 seqrev
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin seqrev
	$(BIN)/lint-imports --no-cache

format: .venv/installed-dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-gpu: .venv/installed-dev  ## Run the tests that need a GPU; two minutes
	$(BIN)/pytest tests/test_gpu.py

bench-gpu: .venv/installed  ## Measure training of configs/base.yaml on a GPU against nn.Transformer
	$(BIN)/python benchmarks/gpu.py

clean:  ## Remove the environment and the caches; runs stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage *.egg-info

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
