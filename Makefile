.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

.PHONY: help setup demo test test-all integrations test-integrations chaos check docs licences audit serve bench gpu gpu-packages clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

setup: $(READY)  ## Install into .venv what demo, test and train need.

demo: $(READY)  ## Run the demonstration (minutes).
	$(BIN)/steptool demo

test: $(READY)  ## Run the tests that finish within a few minutes.
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not slow'

# Trained weights differ with the order in which a machine adds: other kernels stand for other machines.
OTHER_KERNELS := ATEN_CPU_CAPABILITY=default MKL_ENABLE_INSTRUCTIONS=SSE4_2 ONEDNN_MAX_CPU_ISA=SSE41

test-all: $(READY)  ## Run every test; learning tests on five seeds, under two kinds of kernels.
	$(BIN)/python -m pytest -n $(WORKERS) --seeds 5
	$(OTHER_KERNELS) $(BIN)/python -m pytest -n $(WORKERS) --seeds 5 -m learning

# Partners exclude each other's versions, so that each has an environment of its own.
PARTNERS := $(patsubst tests/integrations/%/requirements.txt,%,$(wildcard tests/integrations/*/requirements.txt))
.SECONDARY:
# Packages of apart.txt, which cannot be beside ours, go into a folder that only a child process of the tests sees.
.venvs/%/.ready: tests/integrations/%/requirements.txt pyproject.toml
	$(PYTHON) -m venv .venvs/$*
	.venvs/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@test ! -f $(<D)/apart.txt || .venvs/$*/bin/python -m pip install --quiet --disable-pip-version-check \
	  --upgrade --target .venvs/$*/apart -r $(<D)/apart.txt
	@touch $@

.venvs/%/result.xml: .venvs/%/.ready .force
	.venvs/$*/bin/python -m pytest --quiet tests/integrations/$* --junitxml $@

.force:

integrations: $(PARTNERS:%=.venvs/%/.ready)  ## Install each partner's package into an environment of its own.

test-integrations: $(PARTNERS:%=.venvs/%/result.xml)  ## Test each partner's own package and client in an environment of its own.
	$(PYTHON) tests/integrations/table.py $^

# Another SEED gives other faults. OUT=benchmarks/results writes the result file, and needs a clean tree.
SEED ?= 0
BUDGET ?= 1
OUT ?=
chaos: $(READY)  ## Inject faults into servers, files, disks and networks (15 minutes); see docs/reliability.md.
	$(BIN)/python -m pytest tests/chaos -m slow -p no:xdist --chaos-seed $(SEED) --chaos-budget $(BUDGET) \
	  $(if $(OUT),--chaos-out $(OUT))

check: $(READY)  ## Lint, format check, type check, and a build of the documentation.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(MAKE) --no-print-directory docs

docs: $(READY)  ## Build the documentation into site/; broken links and anchors are errors.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

licences: $(READY)  ## Write docs/licences.md from the installed packages.
	$(BIN)/python docs/licences.py

# `--strict` makes a package that the database does not know an error: without it, pip-audit says "No known
# vulnerabilities" where an index has packages and no advisories.
audit:  ## Compare constraints.txt with the advisories for Python packages; needs a network.
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip-audit
	@.venv-audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off $(AUDIT) -r constraints.txt || { \
	  echo "error: constraints.txt has a known vulnerability, or was not audited: the lines above say which." >&2; \
	  echo "Where PyPI's JSON interface cannot be reached, try the other database: make audit AUDIT='-s osv'" >&2; exit 1; }

serve: $(READY)  ## Serve ToolWorld on 127.0.0.1:8000.
	$(BIN)/toolserver serve --world 0 --port 8000

bench: $(READY)  ## Run the benchmarks that fit ten minutes; results go to benchmarks/results/.
	$(BIN)/python -m benchmarks

gpu: $(READY)  ## Check and measure a GPU in eight minutes; see docs/gpu.md.
	$(BIN)/python -m benchmarks.gpu --minutes 8 --out benchmarks/results

gpu-packages: $(READY)  ## Collect what a GPU machine without a network lacks in .gpu-packages/.
	rm -rf .gpu-packages
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --only-binary=:all: \
	  --implementation cp --python-version 3.12 --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
	  --platform manylinux2014_x86_64 --target .gpu-packages -r benchmarks/gpu_wheels.txt

clean:  ## Remove what was built here, the environment included.
	rm -rf $(VENV) .venvs .venv-audit .gpu-packages build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
