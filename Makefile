# make demo   the first landscape, on the built-in model
# make test   the whole test suite
# make lint   ruff and mypy
# make bench  speed and memory of quant, as ratios
# make validate  how often the intervals of R hold, by simulation: landscape/CALIBRATION.md
PYTHON ?= python3
# Processes that share the tests: models so small are no faster on two threads than on one.
WORKERS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint bench validate clean

demo: .venv/installed
	$(BIN)/landscape probe --model opt-nano --bits 8,4,2 --scale exact,absmax --directions 8

test: .venv/tested
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: .venv/developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed
	$(BIN)/python benchmarks/speed.py

validate: .venv/installed
	$(BIN)/python benchmarks/validate_radius.py

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "expected Python 3.11 or newer, got `$(PYTHON) --version`; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

.venv/tested: .venv/installed
	$(PIP) --editable '.[test]'
	@touch $@

.venv/developed: .venv/installed
	$(PIP) --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv landscape-report build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
