# Every command of the workspace. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Without compiled modules every start of a program and every test process compiles all it imports: half of their time.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DISTRIBUTIONS := schemas proto sdk/python controller agent cli
PROJECTS := $(addsuffix /pyproject.toml,$(DISTRIBUTIONS))
OWN := plum-schemas plum-proto plum-sdk
# Two more than there are cores: tests of real programs wait more than they compute.
SIDE_BY_SIDE = -n $$(( $$(nproc) < 7 ? $$(nproc) + 2 : 8 )) --dist loadfile --no-loadscope-reorder
ALL_TESTS := $(BIN)/python -m pytest tests -m "not soak"
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 $(addprefix --no-emit-package ,$(OWN))

.PHONY: help setup ui ui-check screenshots run test clients check lint types imports generated fast-tests bench soak schemas proto lock clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## install everything into .venv, from locked and hashed requirements, and build the web UI
	@ui/build.sh || echo "THE WEB UI WAS NOT BUILT (the reason is above); everything else works, and / says how to build it: make ui" >&2

# uv comes from the machine or from PyPI; the rest is installed by it.
$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Plum needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Set PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if command -v uv >/dev/null 2>&1; then ln -sf "$$(command -v uv)" $(BIN)/uv; else $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: uv; fi

$(VENV)/.installed: $(BIN)/uv requirements/dev.txt $(PROJECTS)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(addprefix --editable ,$(DISTRIBUTIONS))
	@touch $@

ui: $(VENV)/.installed ## check and build the web UI, and measure its first load
	ui/build.sh --full

run: setup ## start controller, agent and web UI on this terminal, and apply the demo
	@exec $(BIN)/plum dev --manifests manifests/demo

# Leases, deadlines and order in time are real in these tests, and a busy machine can break them where Plum does not.
# What failed beside others is therefore run once more, alone; it fails again if the fault is Plum's, and both results are shown.
test: setup ## all tests: stores, real processes, kubectl, faults
	@$(ALL_TESTS) $(SIDE_BY_SIDE) || { code=$$?; test $$code = 1 || exit $$code; echo "Once more and alone: what failed beside others."; \
	$(ALL_TESTS) --last-failed --last-failed-no-failures none --maxfail 5 -p no:xdist; }

clients: setup ## drive the real Kubernetes clients and write docs/kubernetes-clients.md from what they did
	$(BIN)/python -m pytest tests -m "client and not soak" --client-table docs/kubernetes-clients.md $(SIDE_BY_SIDE)

check: setup lint types imports generated fast-tests ui-check ## format, lint, types, import rules, generated files, fast tests

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy -p plum_schemas -p plum_proto -p plum_client -p plum_worker -p plum_flow -p plum_controller -p plum_agent -p plum_cli

imports: setup
	$(BIN)/lint-imports

generated: setup
	$(BIN)/python -m plum_schemas.generate --check schemas/crds
	bash proto/generate.sh --check

fast-tests: setup
	$(BIN)/python -m pytest -q tests/unit tests/contract -m "not slow and not soak"

ui-check: $(VENV)/.installed
	ui/build.sh --only-packages
	cd ui && npm run --silent check && npm run --silent api:check

screenshots: setup ## take the pictures of docs/ui.md anew
	$(BIN)/python -m tests.ui.screenshots

bench: setup ## measure the numbers of docs/architecture.md and print them beside the goal
	$(BIN)/python -m tests.bench

soak: setup ## fault, model and schema tests at their full count (hours)
	$(BIN)/python -m pytest tests -m soak --timeout 14400

schemas: setup ## write schemas/crds from the typed kinds
	$(BIN)/python -m plum_schemas.generate schemas/crds

proto: setup ## write the generated code of the worker protocol
	bash proto/generate.sh

lock: $(BIN)/uv ## resolve the dependencies again and write requirements/*.txt with hashes
	$(LOCK) $(PROJECTS) requirements/dev.in -o requirements/dev.txt
	$(LOCK) schemas/pyproject.toml sdk/python/pyproject.toml controller/pyproject.toml -c requirements/dev.txt -o requirements/controller.txt
	$(LOCK) schemas/pyproject.toml sdk/python/pyproject.toml agent/pyproject.toml -c requirements/dev.txt -o requirements/agent.txt
	$(LOCK) requirements/node.in -o requirements/node.txt
	$(LOCK) schemas/pyproject.toml sdk/python/pyproject.toml cli/pyproject.toml -c requirements/dev.txt -o requirements/cli.txt

clean: ## remove what was installed and built (not the data in .plum)
	rm -rf $(VENV) ui/node_modules controller/plum_controller/ui_dist .mypy_cache .ruff_cache .import_linter_cache dist build
