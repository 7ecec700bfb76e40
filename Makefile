# `make help` lists the targets. Everything they need is installed below .venv/ or cached in
# $(PALM_CACHE), which survives `make clean`.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export PALM_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/palm-operator
UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),$(PALM_CACHE)/uv-$(UV_VERSION)/bin/uv)
BIN := .venv/bin
SOURCES := operator trainer-image evaluator-image devcluster tests

# One thread per process: OpenMP's barriers cost more than a second core brings here.
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1

.PHONY: help setup demo test check format generate verify bench bench-gateway bench-serving bench-idle \
	bench-evaluator images no-gap kill-matrix wrong-watches random-walks lock clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(PALM_CACHE)/uv-$(UV_VERSION)/bin/uv:
	@echo "Installing uv $(UV_VERSION) into $(PALM_CACHE)"
	@python3 -m venv "$(PALM_CACHE)/uv-$(UV_VERSION)"
	@"$(PALM_CACHE)/uv-$(UV_VERSION)/bin/pip" install -q --disable-pip-version-check uv==$(UV_VERSION)

.venv/.complete: pyproject.toml constraints.txt | $(UV)
	@echo "Installing the project and its dependencies into .venv (a minute or two; cached afterwards)"
	@$(UV) venv -q --allow-existing --python 3.11 .venv
	@$(UV) pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

setup: .venv/.complete ## Make .venv with every command of the project

demo: setup ## Run the main job end to end on the embedded cluster (first time: builds it, ~20 min)
	@$(BIN)/palm-demo

test: setup ## Pass all tests (first time: builds the embedded cluster)
	@$(BIN)/palm-devcluster build
	@$(BIN)/python -m palm_trainer.toy
	@$(BIN)/python -m palm_devcluster.vllm
	@$(BIN)/pytest

.PHONY: bench-oracle
bench-oracle: setup ## Oracle regret on the toy task, 13 trainings before and after tuning (~15 min)
	@$(BIN)/python -m palm_trainer.toy
	@$(BIN)/python tests/bench/oracle.py

check: setup ## Lint, types, architecture
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## Format the code and mend what lint can mend
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

generate: setup ## Write what is generated: the CRD and the chart's copy of it
	@$(BIN)/python -m palm_operator.api.crd --write

verify: check generate ## Check, and fail where generated files are stale
	@git diff --exit-code -- crds charts || { echo "generated files are stale: commit what 'make generate' wrote" >&2; exit 1; }

bench: setup ## Measure the core and the search against bounds, peers and goals (~15 min)
	@$(BIN)/python tests/bench/core.py
	@$(BIN)/python tests/bench/oracle_calls.py

bench-gateway: setup ## Measure the gateway against direct requests in the same run
	@$(BIN)/python tests/bench/gateway.py

bench-serving: setup ## One server per policy against one for all: processes, memory, time to ready
	@$(BIN)/palm-devcluster build
	@$(BIN)/python tests/bench/serving.py

bench-evaluator: setup ## Measure the evaluator against bare LLM.generate and bare scoring (~7 min)
	@$(BIN)/python -m palm_devcluster.vllm
	@$(BIN)/python tests/bench/evaluator.py

images: setup ## Do every image's build steps in an empty environment, without a container engine
	@$(BIN)/python tests/bench/images.py

no-gap: setup ## A constant load while policies are refreshed, Pods restarted and killed (~15 min)
	@$(BIN)/palm-devcluster build
	@$(BIN)/python tests/bench/no_gap.py

bench-idle: setup ## Fifty Portfolios, ten minutes, nothing to do: writes and S3 requests (~15 min)
	@$(BIN)/palm-devcluster build
	@$(BIN)/python tests/bench/idle.py

kill-matrix: setup ## Kill the operator before and after every external call it makes (~10 min)
	@$(BIN)/palm-devcluster build
	@$(BIN)/python tests/faults/kill_matrix.py

wrong-watches: setup ## Expired, missed, refused and silent: recovery from each, in seconds (~4 min)
	@$(BIN)/palm-devcluster build
	@$(BIN)/python tests/faults/wrong_watches.py

.PHONY: scenarios
scenarios: setup ## Sixteen ways in which a year on a cluster goes wrong; Kueue's controller is built first (~20 min)
	@$(BIN)/palm-devcluster build --kueue
	@$(BIN)/python -m palm_trainer.toy
	@$(BIN)/python tests/scenarios/run.py

.PHONY: nodes
nodes: setup ## Trainings on two nodes by JobSet's and Kueue's own controllers, built first (~6 min)
	@$(BIN)/palm-devcluster build --jobset --kueue
	@$(BIN)/pytest -q tests/jobset/controller.py

random-walks: setup ## Users, Jobs, others and faults in any order, thousands of steps (~10 min)
	@$(BIN)/palm-devcluster build
	@PALM_WALKS=300 $(BIN)/pytest -q -s tests/faults/test_random_walks.py
	@$(BIN)/python tests/faults/cluster_walk.py

lock: setup ## Rewrite constraints.txt with the newest versions that install together
	@$(UV) pip compile pyproject.toml --extra dev --python-version 3.11 --upgrade -q \
		--no-header --no-annotate --no-emit-find-links -o build/constraints.txt
	@{ sed -n '/^#/p' constraints.txt; sed 's/+cpu//' build/constraints.txt; } > build/constraints.new
	@mv build/constraints.new constraints.txt

clean: ## Stop the embedded cluster and remove what make made here (the cache stays)
	@if [ -x $(BIN)/palm-devcluster ]; then $(BIN)/palm-devcluster down --purge; fi
	@rm -rf build .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
