# make reproduce   the environment, the embedded data, two self-training rounds; where the report lies, what improved
# make quick       the environment, then the fast tests: after every edit
# make test        the environment, then format, lint, types and all tests
# make check       the pipeline at a small size, twice, from nothing: equal bytes
# make lock        requirements.lock anew from pyproject.toml
#
# PYTHON=/path/to/python3.12 make reproduce   with another interpreter (3.11 to 3.13)

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
INSTALLED := .venv/installed
PYTEST := pytest -q --numprocesses logical --maxprocesses 8 --dist worksteal
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help reproduce quick test check lock

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

reproduce: $(INSTALLED)
	@dvc repro
	@python -m tools.outcome

quick: $(INSTALLED)
	$(PYTEST) -m "not slow and not gpu"

test: $(INSTALLED)
	ruff format --check .
	ruff check .
	mypy pipeline stages tools benchmarks tests
	$(PYTEST)

check: $(INSTALLED)
	python -m tools.reproduce_check

lock: $(INSTALLED)
	uv pip compile -q --universal --generate-hashes --extra dev --python-version 3.11 --no-header --no-emit-index-url \
		--output-file requirements.lock pyproject.toml

# uv, itself pinned in requirements.lock, installs in seconds what takes pip minutes; where it reaches no registry (it does
# not read pip's configuration), pip does it.
$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python from 3.11 to 3.13 found; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x .venv/bin/python || "$(PYTHON)" -m venv .venv
	@.venv/bin/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "error: .venv has another Python than 3.11 to 3.13; remove the folder and run make again" >&2; exit 1; }
	@echo "installing requirements.lock into .venv"
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt
	@.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@.venv/bin/uv pip install -q --compile-bytecode --python .venv/bin/python --require-hashes -r requirements.lock || { \
		echo "uv could not install it; with pip, this takes some minutes"; \
		.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock; }
	@.venv/bin/python -m pip install -q --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
	@touch $@
