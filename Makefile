# The verbs of this repository; `make help` lists them.
#
# Each verb sets up what it needs and remembers it in stamp files, so that it is
# quick the second time. What is tested, served and shown is the installed wheel;
# `EDITABLE=1` installs the source tree instead, for work on the code.

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.NOTPARALLEL:

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check

EDITABLE ?=
COVERAGE ?=
KILLS ?= 300
ARGS ?=
STORE ?=

MODEL_RECIPE := llamaindex_reaktly/embeddings/minilm_graph.py llamaindex_reaktly/embeddings/minilm_weights.py
MODEL_SOURCES := $(MODEL_RECIPE) $(shell find models/minilm -type f -not -path '*/__pycache__/*')
PROJECT_SOURCES := pyproject.toml README.md LICENSE THIRD_PARTY_NOTICES.md \
	$(shell find llamaindex_reaktly api mcp_server -type f -not -path '*/__pycache__/*')

PROJECT := $(STAMPS)/project-$(if $(EDITABLE),editable,wheel)
MODEL := $(STAMPS)/model

.PHONY: help demo setup serve test fuzz torture check docs bench build clean

help: ## list the verbs
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

demo: setup ## push sample content to a server, search it, show the answers (STORE=weaviate)
	@echo "==> demo: a server on a free loopback port, with a data directory of its own"
	@$(BIN)/python -m demo $(if $(STORE),--store $(STORE))

setup: $(PROJECT) $(MODEL) ## .venv with the project, the model and the tools (EDITABLE=1: the source tree)

serve: setup ## run the server until Ctrl-C
	@echo "==> serve: the API with its ingestion worker; Ctrl-C stops it"
	@$(BIN)/reaktly serve $(ARGS)

# `coverage run` and pytest are started as programs, not by `python -m`, which
# would put the source tree before the installed wheel.
test: setup ## run the tests (ARGS="-k words" narrows, COVERAGE=1 reports coverage)
	@echo "==> test: against the $(if $(EDITABLE),source tree,installed wheel)"
	@$(if $(COVERAGE),$(BIN)/coverage erase; $(BIN)/coverage run $(BIN)/pytest,$(BIN)/pytest) $(ARGS)
	@$(if $(COVERAGE),$(BIN)/coverage combine -q && $(BIN)/coverage report,true)

fuzz: setup ## generated requests to every operation of the OpenAPI document (ARGS="--examples 100")
	@echo "==> fuzz: every check of Schemathesis on every operation"
	@$(BIN)/python -m tests.conformance.fuzzing $(ARGS)

torture: setup ## kill and fault tests (KILLS=n on each registry; hours with the default 300)
	@echo "==> torture: $(KILLS) kills on each registry, and every other fault"
	@$(BIN)/python -m torture --kills $(KILLS) $(ARGS)
	@echo "==> torture: the same with Weaviate as the store, indexing at once, later, and as a cluster"
	@$(BIN)/python -m torture --store weaviate --kills $(KILLS) $(ARGS)
	@$(BIN)/python -m torture --store weaviate-async --kills $(KILLS) $(or $(ARGS),kills store-kills mass-deletes)
	@$(BIN)/python -m torture --store weaviate-cluster --kills $(KILLS) $(or $(ARGS),node-loss)

check: setup ## format, lint, types, import contracts, licences, docs
	@echo "==> check: format"; $(BIN)/ruff format --check .
	@echo "==> check: lint"; $(BIN)/ruff check .
	@echo "==> check: types"; $(BIN)/mypy
	@echo "==> check: import contracts"; $(BIN)/lint-imports
	@echo "==> check: lock, licences, settings and error tables, conformance, tree"
	@$(BIN)/python -m scripts.check_lock
	@$(BIN)/python -m scripts.third_party_notices --check
	@$(BIN)/python -m scripts.settings_table --check
	@$(BIN)/python -m scripts.error_table --check
	@$(BIN)/python -m scripts.conformance --check
	@$(BIN)/python -m scripts.check_tree
	@$(MAKE) --no-print-directory docs

docs: setup ## run the commands and programs that the docs show
	@echo "==> docs: run what the pages show"; $(BIN)/python -m scripts.check_docs

bench: setup ## run the benchmarks into a dated results file
	@echo "==> bench: this takes a while, and wants the machine for itself"
	@$(BIN)/python -m benchmarks $(ARGS)

build: $(STAMPS)/built $(STAMPS)/model-built ## wheels of the project and of the model in dist/
	@ls -1 dist/*.whl

clean: ## remove .venv, dist and caches (never your data)
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis htmlcov .coverage*

# -- what the verbs stand on ------------------------------------------------------

$(STAMPS)/venv:
	@python=$$(scripts/find-python); \
	echo "==> setup: $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV) || { echo "Python's venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/locked: requirements.lock $(STAMPS)/venv
	@echo "==> setup: the locked dependencies (about a minute the first time)"
	@$(PIP) install --quiet --require-hashes -r requirements.lock
	@touch $@

# Without isolation: what builds is locked as well, and is not fetched again.
$(STAMPS)/built: $(PROJECT_SOURCES) $(STAMPS)/locked
	@echo "==> build: the project's wheel"
	@mkdir -p dist; rm -f dist/llamaindex_reaktly-*.whl
	@$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@touch $@

$(STAMPS)/model-built: $(MODEL_SOURCES) $(STAMPS)/locked
	@echo "==> build: the model's wheel (fetches 83 MB of pinned weights, then quantises)"
	@mkdir -p dist; rm -f dist/reaktly_minilm-*.whl
	@$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist ./models/minilm
	@touch $@

$(STAMPS)/project-wheel: $(STAMPS)/built
	@echo "==> setup: install the project's wheel"
	@$(PIP) install --quiet --no-deps --force-reinstall dist/llamaindex_reaktly-*.whl
	@rm -f $(STAMPS)/project-editable; touch $@

$(STAMPS)/project-editable: pyproject.toml $(STAMPS)/locked
	@echo "==> setup: install the source tree"
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@rm -f $(STAMPS)/project-wheel; touch $@

$(STAMPS)/model: $(STAMPS)/model-built
	@echo "==> setup: install the model"
	@$(PIP) install --quiet --no-deps --force-reinstall dist/reaktly_minilm-*.whl
	@touch $@
