# make demo       draw the first landscape, on the built-in model
# make test       run the test suite, but for the tests that take longest
# make test-all   run the whole test suite
# make lint       run ruff and mypy
# make torture    try to break the command line, in half an hour on two cores, and rewrite tests/torture/README.md;
#                 SEED (1) draws the tries; MINUTES=5 takes a share of each round, and rewrites no page
#
# Pages of results, each made from the rows in its folder (benchmarks/claims/README.md and so on):
#
# make claims     rewrite the tables: what the paper says of the landscape
# make advice     rewrite the tables: whether the advice of `landscape advise` comes true
# make methods    rewrite the tables: RTN, GPTQ and QAFT on a real model
# make models     rewrite the tables: small models of other families, trained to try the toolkit on
# make radius     rewrite the tables: whether the intervals of R hold, and what R costs
# make speed      rewrite the tables: speed and memory, as ratios
# make study      rewrite the tables: the figures of the paper beside ours
#
# Measuring anew, which takes minutes on opt-nano and hours on SmolLM2-135M:
#
# make measure-claims, measure-advice, measure-methods, measure-radius, measure-study
#                 measure a page's rows on MODEL (opt-nano) and DATA (the model's default), then rewrite its tables;
#                 WORK (bench-work) holds the cache, so that an interrupted run resumes; OPTIONS go to the script
# make train-models
#                 train these models into WORK/models, two hours on one core, and rewrite their tables;
#                 DATA is WikiText-2 (wikitext2, from the Hub), OPTIONS go to the script
# make validate   simulate how often the intervals of R hold, and rewrite the tables of radius
# make bench      measure speed and memory as ratios, in twenty minutes on two idle cores, then rewrite the
#                 tables of speed; OPTIONS go to the script
PYTHON ?= python3
# Processes that share the tests: models so small are no faster on two threads than on one.
WORKERS ?= 2
MODEL ?= opt-nano
DATA ?=
WORK ?= bench-work
OPTIONS ?=
SEED ?= 1
MINUTES ?=
BIN := .venv/bin
INSTALL_OPTIONS ?=
PIP := $(BIN)/python -m pip install $(INSTALL_OPTIONS) --quiet --disable-pip-version-check --constraint constraints.txt
TESTS := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
PAGES := claims advice methods models radius speed study
MEASURED := $(filter-out models speed,$(PAGES))

.PHONY: demo test test-all lint torture $(PAGES) $(MEASURED:%=measure-%) train-models validate bench clean

demo: .venv/installed
	$(BIN)/landscape probe --model opt-nano --bits 8,4,2 --scale exact,absmax --directions 8 --seq-len 256

test: .venv/tested
	$(TESTS) -m "not long"

test-all: .venv/tested
	$(TESTS)

lint: .venv/developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

torture: .venv/tested
	$(BIN)/python -m tests.torture --seed $(SEED) \
	  $(if $(MINUTES),--minutes $(MINUTES),--table tests/torture/README.md)

$(PAGES): .venv/installed
	$(BIN)/python -m benchmarks.$@.table

$(MEASURED:%=measure-%): measure-%: .venv/installed
	$(BIN)/python -m benchmarks.$*.measure --model $(MODEL) $(if $(DATA),--data $(DATA)) --work $(WORK)/$* $(OPTIONS)
	$(BIN)/python -m benchmarks.$*.table

train-models: .venv/installed
	$(BIN)/python -m benchmarks.models.train $(if $(DATA),--data $(DATA)) --work $(WORK)/models $(OPTIONS)

validate: .venv/installed
	$(BIN)/python -m benchmarks.radius.simulate

bench: .venv/installed
	$(BIN)/python -m benchmarks.speed.measure $(OPTIONS)
	$(BIN)/python -m benchmarks.speed.table

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
