# One target per wish. `make run` and `make test` need nothing but Python and a network on a fresh
# clone: they create .venv from requirements.lock first.

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.complete
# Ray and Flower live apart: Flower wants older versions of rich, packaging and protobuf.
BEYOND := .venv-beyond
BEYOND_STAMP := $(BEYOND)/.complete
EXTRAS := learn,pettingzoo,aer,arena,squidasm,lab,qkd,dashboard,dev
# One process for each core; ARGS="-n 0" keeps all tests in one.
PARALLEL := -n auto --dist worksteal
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run live test test-long test-beyond chaos soak lint reference clean lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP) ## play the closed loop (ARGS="--seconds 10" passes options on)
	$(VENV)/bin/dpem run $(ARGS)

live: $(STAMP) ## a run and its live page (the address is printed; Ctrl-C ends both)
	$(VENV)/bin/dpem dashboard --run $(ARGS)

test: lint ## lint, then all tests that take less than minutes
	$(VENV)/bin/python -m pytest $(PARALLEL) $(ARGS)

test-long: lint ## the same with the tests that take minutes
	$(VENV)/bin/python -m pytest $(PARALLEL) -m "not hardware" $(ARGS)

test-beyond: $(BEYOND_STAMP) ## Ray, Flower and several hosts, which needs root: minutes
	$(BEYOND)/bin/python -m pytest -m "not hardware" tests/system/test_ray.py \
	  tests/system/test_flower.py tests/system/test_hosts.py tests/system/test_regional_brokers.py $(ARGS)

chaos: $(STAMP) ## a thousand faults of a service under load, then the proof from its journal
	DPEM_CHAOS_FAULTS=1000 $(VENV)/bin/python -m pytest -m long tests/system/test_service_chaos.py $(ARGS)

soak: $(STAMP) ## half an hour of half the load; memory and open files stay flat
	DPEM_SOAK_S=$${DPEM_SOAK_S:-1800} $(VENV)/bin/python -m pytest -s -m long tests/system/test_service_soak.py $(ARGS)

lint: $(STAMP) ## style, types, layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

reference: $(STAMP) ## write the pages of reference in docs/ from the code
	$(VENV)/bin/python -m controller.reference docs

clean: ## remove what the other targets made, run folders excepted
	rm -rf $(VENV) $(BEYOND) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find controller backends quantum firmware_stubs tests -name __pycache__ -prune -exec rm -rf {} +

# Made again when the lock or the project's metadata (entry points, extras) change. The stamp comes
# last, so an interrupted installation is taken up again.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "DPEM needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -r requirements.lock
	$(VENV)/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(BEYOND_STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(BEYOND)
	grep -vE '^(rich|packaging|protobuf)==' requirements.lock > $(BEYOND)/constraints.txt
	$(BEYOND)/bin/python -m pip install --disable-pip-version-check -c $(BEYOND)/constraints.txt \
	  -e '.[learn,arena,ray,flower]' pytest pytest-timeout hypothesis
	@touch $@

# pip resolves the project afresh (nothing is installed) and we keep names and versions only: no
# hashes, no index, and torch without the build tag, so that pip takes the build the machine has.
# CUDA libraries are left to torch, which pins them itself where it wants them. hatchling and its
# editables build the project itself without asking the index again.
lock: $(STAMP) ## pin the newest versions that pyproject.toml allows
	$(VENV)/bin/python -m pip install --disable-pip-version-check --quiet --dry-run \
	  --ignore-installed --report $(VENV)/resolved.json '.[$(EXTRAS)]' hatchling editables
	@$(VENV)/bin/python -c 'import json, sys; \
	  found = [p["metadata"] for p in json.load(open(sys.argv[1]))["install"]]; \
	  pins = {p["name"].lower(): p["version"].partition("+")[0] for p in found}; \
	  print("# Written by `make lock`; installed by every target that needs it."); \
	  [print(f"{n}=={v}") for n, v in sorted(pins.items()) \
	   if n != "dpem" and not n.startswith(("nvidia-", "cuda-")) and n != "triton"]' \
	  $(VENV)/resolved.json > $(VENV)/lock.new
	@mv $(VENV)/lock.new requirements.lock
