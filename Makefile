# Everything runs in .venv, which is made and kept up to date by itself; needs make and Python >= 3.11. `make oldest` has
# an environment of its own, .venv-oldest, with the oldest versions that setup.cfg allows.
.NOTPARALLEL:
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet
NEURAL_TANGENTS := neural-tangents==0.6.5
OLDEST := .venv-oldest
# On the oldest versions: what repairs neural-tangents, and the core of each room that computes.
OLDEST_TESTS := tests/kernel/test_stax.py tests/kernel/test_stax_network.py tests/kernel/test_composed.py \
	tests/operator/test_lattice.py tests/operator/test_dense.py tests/eigen/test_trajectory.py \
	$(addprefix tests/trainer/test_,train.py optimizer.py memory.py checkpoint.py ensemble.py)

# A process a core: most of the time goes into compiling, which one core does.
PYTEST := python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile
# Threads of BLAS in each of them would spin for a core that another process has.
pytest oldest: export OPENBLAS_NUM_THREADS = 1
# Most of a test's time is compiling, and what it asks needs no machine code as fast as it gets. Without LLVM's optimiser,
# the newer emitters and a split of each program among threads, a compilation takes less than half of its CPU time. A test
# run by hand, `make slow`, `make table` and `make bench` are fully optimised.
pytest oldest: export XLA_FLAGS = --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false \
	--xla_cpu_parallel_codegen_split_count=1

# The first Python that is new enough and can make a virtual environment; make PYTHON=... takes another.
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	if $$python -c '$(USABLE)' >/dev/null 2>&1; then echo $$python; break; fi; done)

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

.PHONY: help setup report test lint types pytest oldest slow bench bench-gpu bench-large table docs notebook clean

help:  ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r what why; do \
		printf '%-14s %s\n' "$$what" "$$why"; done

setup: $(VENV)/.dev  ## .venv with everything that development needs
	@echo "setup: $(VENV) is ready"

report: $(VENV)/.runtime  ## the main job: what a network will learn of the embedded photograph, as a page in report/
	@$(BIN)/ntkspec report --out report

test: lint types pytest oldest  ## lint, types, all tests but the slow ones, and a selection on the oldest versions

lint: $(VENV)/.dev  ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy
	@$(BIN)/mypy

pytest: $(VENV)/.dev  ## tests, doctests, the README's example and the notebook
	@$(BIN)/$(PYTEST) -m "not slow"

oldest: $(OLDEST)/.test  ## the core's tests on the oldest JAX, NumPy, SciPy and xarray that are supported, in .venv-oldest
	@$(OLDEST)/bin/$(PYTEST) -m "not slow" -p no:cacheprovider $(OLDEST_TESTS)

slow: $(VENV)/.dev  ## the large checks
	@$(BIN)/python -m pytest -m slow

bench: $(VENV)/.dev  ## measured ratios against peers and limits, as one table (minutes)
	@$(BIN)/python -m benchmarks.run

bench-gpu: $(VENV)/.dev  ## what an attached GPU does with the same code; says "no GPU" where there is none
	@$(BIN)/python -m benchmarks.gpu

bench-large: $(VENV)/.dev  ## the same for millions of points, photographs and wide networks (hours, 12 GB)
	@$(BIN)/python -m benchmarks.run lattice_sizes scattered_products learning_curves regret width_law

table: $(VENV)/.dev  ## docs/activations.md, from a run of the tests that bound its numbers (minutes)
	@$(BIN)/python -m pytest tests/kernel/test_activation_page.py --write-table

docs: $(VENV)/.dev  ## API reference into site/
	@$(BIN)/pdoc --docformat google --output-directory site ntkspec
	@echo "site/index.html"

notebook: $(VENV)/.notebook  ## the tour in JupyterLab
	@$(BIN)/jupyter lab notebooks

clean:  ## remove what was made, except .venv and .venv-oldest
	@rm -rf report site build dist benchmarks/results .pytest_cache .hypothesis .mypy_cache .ruff_cache
	@find ntkspec tests benchmarks notebooks -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written when its step has ended well; an interrupted step runs again.
%/.created:
	@if $*/bin/python -m pip --version >/dev/null 2>&1; then :; \
	elif [ -z "$(PYTHON)" ] || ! $(PYTHON) -c '$(USABLE)'; then \
		echo "make: no Python 3.11 or newer with the venv module found ($(if $(PYTHON),$(PYTHON) is not one,none on the path));" \
			"install one (Debian: apt install python3-venv), or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	else \
		echo "setup: making $* with $(PYTHON)"; $(PYTHON) -m venv --clear $*; \
	fi
	@touch $@

$(VENV)/.runtime: $(VENV)/.created setup.cfg pyproject.toml
	@echo "setup: installing ntkspec and what it runs on (a minute or two the first time)"
	@$(PIP) --editable '.[app]'
	@touch $@

$(VENV)/.dev: $(VENV)/.created setup.cfg pyproject.toml
	@echo "setup: installing ntkspec and what its development needs (a few minutes the first time)"
	@$(PIP) --editable '.[dev]'
	@# Its own list of dependencies pulls TensorFlow for a part that is not used here.
	@$(PIP) --no-deps $(NEURAL_TANGENTS)
	@touch $(VENV)/.runtime $@

$(OLDEST)/.test: $(OLDEST)/.created setup.cfg pyproject.toml oldest.txt
	@echo "setup: installing ntkspec on the oldest versions of what it runs on (a minute or two the first time)"
	@$(OLDEST)/bin/python -m pip install --quiet --constraint oldest.txt --editable '.[test]'
	@$(OLDEST)/bin/python -m pip install --quiet --no-deps $(NEURAL_TANGENTS)
	@touch $@

$(VENV)/.notebook: $(VENV)/.created setup.cfg pyproject.toml
	@echo "setup: installing ntkspec and what its notebooks need (a few minutes the first time)"
	@$(PIP) --editable '.[app,notebook]'
	@touch $(VENV)/.runtime $@
