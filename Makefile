# Two commands matter: `make train` and `make test`. Each sets up all it needs in .venv first.
# DeepChem's releases decide which Pythons will do: the first of these that has a supported version.
PYTHON  ?= $(shell for p in python3 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 12))' 2>/dev/null \
	&& echo $$p && break; done)
VENV    ?= .venv
CONFIG  ?= examples/train_pbe_mgga.yaml
WORKERS ?= 2
# Extra words for pip, for instance a package index with CPU-only builds of torch.
PIP_FLAGS ?=
# Extra words for the command itself: `make train ARGS="training.epochs=5"`, `make test ARGS="-k pbe"`.
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq $(PIP_FLAGS) -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install train test test-slow bench mutants lint format docs clean distclean

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

install: $(VENV)/.installed-test ## create .venv and install the package with tested versions

train: $(VENV)/.installed-test ## train the functional of CONFIG (examples/train_pbe_mgga.yaml)
	$(BIN)/deepchem-dft train $(CONFIG) --resume $(ARGS)

test: $(VENV)/.installed-test ## run the tests and docstring examples (minutes)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-slow: $(VENV)/.installed-test ## run the long tests; ends with a table of outcomes and times
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow -rA --show-capture=no \
	    --durations=0 --durations-min=1 $(ARGS)

bench: $(VENV)/.installed-test ## run every benchmark and print one table of pass or fail
	$(BIN)/python examples/benchmarks/run_all.py $(ARGS)

mutants: $(VENV)/.installed-test $(VENV)/.installed-mutation ## ask whether the tests notice wrong lines (a sample; an hour)
	$(BIN)/python -m tests.mutation $(ARGS)

lint: $(VENV)/.installed-test $(VENV)/.installed-lint ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-lint ## let ruff mend what it can
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-test $(VENV)/.installed-docs ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

clean: ## remove caches and build products, keep .venv and runs/
	rm -rf build dist *.egg-info docs/_build docs/generated .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find deepchem_dft tests examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## also remove .venv
	rm -rf $(VENV)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.10 or 3.11 is needed: DeepChem has no release for newer ones." \
	    "Install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# One stamp per extra. A change of requirements or tested versions installs again.
# Extras go in one after the other even under `make -j`: two pips in one environment collide.
.NOTPARALLEL:
$(VENV)/.installed-%: setup.py constraints.txt | $(BIN)/python
	@echo "installing deepchem_dft[$*] into $(VENV)$(if $(filter test,$*),; the first time this downloads torch and takes some minutes)"
	@$(PIP) -e ".[$*]"
	@touch $@
