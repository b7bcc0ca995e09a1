# Two commands matter: `make train` and `make test`. Each sets up all it needs in .venv first.
VERSIONS := 3.11 3.12 3.13
needed := Python 3.11, 3.12 or 3.13 is needed
version_of = $(shell $(1) -c 'import sys, ensurepip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
# The first of these that runs, can make virtual environments and has a version that will do.
PYTHON  ?= $(firstword $(foreach name,python3 $(VERSIONS:%=python%),\
	$(if $(filter $(VERSIONS),$(call version_of,$(name))),$(name))))
VENV    ?= .venv
CONFIG  ?= examples/train_pbe_mgga.yaml
WORKERS ?= 2
# Extra words for pip, for instance a package index with CPU-only builds of torch.
PIP_FLAGS ?=
# File of versions to install. Empty: the newest that setup.py allows.
CONSTRAINTS ?= constraints.txt
# Extra words for the command itself: `make train ARGS="training.epochs=5"`, `make test ARGS="-k pbe"`.
ARGS ?=
# Commit whose lines are counted.
AT ?= HEAD

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq $(PIP_FLAGS) $(CONSTRAINTS:%=-c %)

.DEFAULT_GOAL := help
.PHONY: help install train test test-slow test-latest bench mutants lint lines hops format docs notebooks figures \
	dist clean distclean python

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

install: $(VENV)/.installed-test ## create .venv and install the package with tested versions

train: $(VENV)/.installed-test ## train the functional of CONFIG (examples/train_pbe_mgga.yaml)
	$(BIN)/deepchem-dft train $(CONFIG) --resume $(ARGS)

test: $(VENV)/.installed-test ## run the tests and docstring examples (minutes)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-slow: $(VENV)/.installed-test ## run the long tests; ends with a table of outcomes and times
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow -rA --show-capture=no \
	    --durations=0 --durations-min=1 $(ARGS)

test-latest: ## run the tests with the newest versions of everything, in .venv-latest
	rm -rf .venv-latest
	$(MAKE) test VENV=.venv-latest CONSTRAINTS=

bench: $(VENV)/.installed-test ## run every benchmark and print one table of pass or fail
	$(BIN)/python examples/benchmarks/run_all.py $(ARGS)

mutants: $(VENV)/.installed-test $(VENV)/.installed-mutation ## ask whether the tests notice wrong lines (a sample; an hour)
	$(BIN)/python -m tests.mutation $(ARGS)

lint: $(VENV)/.installed-test $(VENV)/.installed-lint ## ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

lines: ## count lines of package and tests, laid out alike (AT=commit)
	@folder=$$(mktemp -d); git archive $(AT) deepchem_dft tests | tar x -C $$folder; cp pyproject.toml $$folder; \
	find $$folder -name '*.py' -exec sed -i 's/  # fmt: skip//' {} +; $(abspath $(BIN))/ruff format -q $$folder; \
	for room in deepchem_dft tests; do echo "$$room $$(find $$folder/$$room -name '*.py' -exec cat {} + | wc -l)"; done; \
	rm -r $$folder

# From every command, breadth first; the names of lazy packages are not followed.
define HOPS
import collections, statistics, grimp
graph = grimp.build_graph("deepchem_dft", cache_dir=None)
hops = {m: 0 for m in graph.modules if m.startswith("deepchem_dft.cli")}
queue = collections.deque(hops)
while queue:
    for found in graph.find_modules_directly_imported_by(module := queue.popleft()) - hops.keys():
        hops[found] = hops[module] + 1
        queue.append(found)
far = [n for n in hops.values() if n]
print(f"{len(graph.modules)} files; imports from a command to one: median {statistics.median(far):g}, "
      f"mean {statistics.mean(far):.2f}, at most {max(far)}")
endef
export HOPS

hops: $(VENV)/.installed-lint ## count imports between the commands and the files they use
	@$(BIN)/python -c "$$HOPS"

format: $(VENV)/.installed-lint ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-test $(VENV)/.installed-docs ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

notebooks: $(VENV)/.installed-test ## make a notebook of every tutorial, and run it (ARGS="NAME ...": some of them)
	$(BIN)/python docs/_ext/notebooks.py $(ARGS)

figures: $(VENV)/.installed-test ## draw the figures of docs and README anew (ARGS="NAME ...": some; hours without runs/)
	$(BIN)/python examples/figures.py $(ARGS)

dist: $(VENV)/.installed-test $(VENV)/.installed-dist ## build sdist and wheel into dist/, and try the wheel in a clean environment
	rm -rf dist build .venv-dist
	$(BIN)/python -m build -q --outdir dist .
	$(BIN)/python -m venv .venv-dist
	$(PIP:$(BIN)/%=.venv-dist/bin/%) dist/*.whl
	$(PIP:$(BIN)/%=.venv-dist/bin/%) --no-deps --ignore-requires-python 'deepchem>=2.8'
	.venv-dist/bin/python tests/journeys/installed.py README.md
	$(PIP:$(BIN)/%=.venv-dist/bin/%) ipykernel  # a notebook wants Jupyter
	DEEPCHEM_DFT_PYTHON=.venv-dist/bin/python $(BIN)/python -m pytest -q -m slow tests/journeys/test_twenty.py
	@cd dist && (sha256sum * 2>/dev/null || shasum -a 256 *)

clean: ## remove caches and build products, keep .venv and runs/
	rm -rf build dist *.egg-info docs/_build docs/generated .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find deepchem_dft tests examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## also remove .venv
	rm -rf $(VENV) .venv-latest .venv-dist

# Whatever uses $(VENV) comes by here, so that a Python that cannot work is refused in one line.
python:
	$(if $(strip $(problem)),$(error $(strip $(problem))))
	@:

given = $(filter environment command,$(origin PYTHON))
asked = $(call version_of,$(PYTHON))
made = $(if $(wildcard $(BIN)/python),$(call version_of,$(BIN)/python))
no_python = $(needed), with its venv module: install one, or name it: make PYTHON=/path/to/python3.13
no_use = PYTHON=$(PYTHON) $(if $(asked),is Python $(asked),does not run or has no venv module); $(needed)
old_venv = $(VENV) has Python $(made); $(needed): run make distclean first
other_venv = $(VENV) has Python $(made), not $(asked): add VENV=.venv-$(asked), or run make distclean first
asked_in_vain = $(if $(PYTHON),$(if $(filter $(VERSIONS),$(asked)),,$(no_use)),$(no_python))
problem = $(if $(made),$(if $(filter $(VERSIONS),$(made)),$(if $(given),$(or $(asked_in_vain),\
	$(if $(filter $(made),$(asked)),,$(other_venv)))),$(old_venv)),$(asked_in_vain))

$(BIN)/python: | python
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# DeepChem and xitorch run on Pythons that their metadata leaves out (see setup.py). Where pip has
# not installed them for that, it is made to; what they need comes with the rest.
LEFT_OUT := 'deepchem>=2.8' 'xitorch>=0.5.1'

# One stamp per extra. A change of requirements or tested versions installs again.
# Extras go in one after the other even under `make -j`: two pips in one environment collide.
.NOTPARALLEL:
$(VENV)/.installed-%: setup.py constraints.txt | $(BIN)/python
	@echo "installing deepchem_dft[$*] into $(VENV)$(if $(filter test,$*),; the first time this downloads torch and takes some minutes)"
	@$(PIP) -e ".[$*]"
	$(if $(filter test,$*),@$(PIP) --no-deps --ignore-requires-python $(LEFT_OUT))
	@touch $@
