# Every target sets up what it needs, once; `make help` lists them.

VENV := .venv
PY := $(VENV)/bin/python
# The first Python here that is new enough.
PYTHON ?= $(firstword $(foreach one,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(one) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(one))))
# Compiled modules are kept, whatever the environment says: without them every process compiles 1,900 anew, and starts
# in 5 s of CPU in place of 1.5.
export PYTHONDONTWRITEBYTECODE :=
# What pip has been told about package sources holds for uv too.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
LOCK := $(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --quiet
# More than there are cores: many tests wait for other processes.
PROCESSES ?= 4

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-system test-debian coverage lint bench chaos lock clean

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

demo: $(VENV)/.ready ## Run the whole portal with three stand-in vendors; Ctrl-C stops it.
	@$(PY) manage.py up --demo

test: $(VENV)/.ready .venvs/ona/.ready .venvs/api/.ready ## Run every test.
	@$(PY) -m tests.support.chromium
	$(PY) -m pytest -n $(PROCESSES) --dist worksteal $(PYTEST)

test-fast: $(VENV)/.ready ## Run the tests that start neither a browser nor another process.
	$(PY) -m pytest -n $(PROCESSES) --dist worksteal -m "not processes and not slow" $(PYTEST)

coverage: $(VENV)/.ready .venvs/ona/.ready .venvs/api/.ready ## Run every test and report the lines and branches that none runs.
	$(PY) -m pytest -n $(PROCESSES) --dist worksteal --cov --cov-report=term --cov-report=html $(PYTEST)

test-system: $(VENV)/.ready ## Run the tests that need Debian's programs, which it installs (as root).
	@$(PY) -m tests.system.programs
	$(PY) -m pytest -n 2 --dist worksteal tests/system $(PYTEST)

test-debian: ## Take an empty Debian, booted with its systemd, through docs/operations.md (as root).
	@tests/system/debian/boot.sh

lint: $(VENV)/.ready ## Check style, imports, types and migrations.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PY) -m tests.support.layout
	$(PY) -m tests.support.migrations
	$(PY) manage.py makemigrations --check --dry-run
	$(VENV)/bin/mypy .

bench: $(VENV)/.ready .venvs/bench/.ready ## Measure the portal beside others; the results go to bench-results/.
	$(PY) -m tests.benchmarks

chaos: $(VENV)/.ready ## Let everything go wrong at once and compare every record; SECONDS=300 SEED=7 set length and plan.
	$(PY) -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

lock: $(VENV)/.ready ## Resolve the dependencies anew and write the requirements files.
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) pyproject.toml --extra embedded --extra dev -o requirements-dev.txt
	$(LOCK) --group pyproject.toml:ona -o requirements-ona.txt
	$(LOCK) --group pyproject.toml:api -o requirements-api.txt
	$(LOCK) --group pyproject.toml:bench -o requirements-bench.txt

clean: ## Remove the environments, the demo's data and every cache.
	@if [ -x $(PY) ]; then $(PY) -m portal.embedded var/tests var; fi
	rm -rf $(VENV) .venvs var .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is ready once its stamp is newer than its lock; one whose making was broken off is made anew.
$(VENV)/.ready: requirements-dev.txt
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed." >&2; exit 1; }
	@$(VENV)/bin/uv --version >/dev/null 2>&1 || { $(PYTHON) -m venv --clear $(VENV) && \
		awk '/^uv==/ {uv = 1} uv {print} uv && !/\\$$/ {exit}' requirements-dev.txt > $(VENV)/uv.txt && \
		$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt; }
	$(VENV)/bin/uv pip sync --quiet --require-hashes --python $(PY) requirements-dev.txt
	@touch $@

# Libraries that cannot share an environment with the portal's: the newer Ona SDK, what tries the API from outside,
# and what is measured beside.
.venvs/%/.ready: requirements-%.txt $(VENV)/.ready
	@$(VENV)/bin/uv venv --quiet --allow-existing --python $(PY) .venvs/$*
	$(VENV)/bin/uv pip sync --quiet --require-hashes --python .venvs/$*/bin/python requirements-$*.txt
	@touch $@
