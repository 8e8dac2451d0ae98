# From a machine with Python 3.11 to 3.13, pip and make. Everything lands in .venv; nothing else is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip --no-input -qq

# Every warning is an error: a broken link or anchor, a page outside the navigation. Everything is written anew, since
# the navigation is on every page.
SITE := $(BIN)/python -m sphinx -c docs -b html -d build/doctrees -a -E -W --keep-going -q . build/site

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-browser test-deploy test-clients check format settings reference protos docs image test-image bench build clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Create .venv with the package, every extra and the development tools

# Where Python comes without ensurepip, the pip outside installs the one inside.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "tensorhost needs Python 3.11 to 3.13; name one with make PYTHON=..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
	  || $(PYTHON) -m venv --clear $(VENV) 2>/dev/null \
	  || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip -qq --python $(BIN)/python install pip; }
	@echo "Installing into $(VENV); this takes a minute or two the first time."
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --editable '.[all]' --group dev --group docs
	@# Clients, for tests. They ask for a TensorFlow and a protobuf beside those that are there.
	@$(PIP) install --no-deps 'tensorflow-serving-api>=2.20,<3' 'tritonclient>=2.60,<3'
	@touch $@

demo: $(STAMP) ## Serve the demo models on http://localhost:3000 (PORT is honoured)
	@$(BIN)/tensorhost demo

test: $(STAMP) ## Run the tests (PYTEST_ARGS are passed on)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-browser: $(STAMP) ## Run the dashboard's tests in Chromium (needs chromium)
	@$(BIN)/python -m pytest tests/browser $(PYTEST_ARGS)

test-deploy: $(STAMP) ## Run the tests of deploy/ (needs prometheus, nginx, systemd)
	@$(BIN)/python scripts/deploy_tools.py
	@$(BIN)/python -m pytest tests/deploy $(PYTEST_ARGS)

test-clients: $(STAMP) ## Run the tests with perf_analyzer and KServe's clients (needs libb64)
	@$(BIN)/python scripts/client_tools.py
	@$(BIN)/python -m pytest tests/clients $(PYTEST_ARGS)

image: ## Build the images tensorhost:latest and tensorhost:slim with docker, podman or buildah
	@deploy/image/build full slim

test-image: $(STAMP) ## Run the tests of the images that make image has built (needs docker or podman)
	@$(BIN)/python -m pytest tests/image $(PYTEST_ARGS)

check: $(STAMP) ## Check format, lint, types, import contracts, generated docs, Dockerfile and scripts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/settings_reference.py --check
	$(BIN)/python scripts/metrics_reference.py --check
	$(BIN)/python scripts/cli_reference.py --check
	$(BIN)/python scripts/error_reference.py --check
	$(BIN)/python scripts/model_toml_reference.py --check
	$(BIN)/python scripts/model_server_reference.py --check
	$(BIN)/python scripts/chart_schema.py --check
	$(BIN)/python scripts/benchmark_page.py --check
	$(BIN)/python scripts/hot_path_page.py --check
	$(BIN)/python scripts/tracing_costs.py --check
	$(BIN)/python scripts/compile_protos.py --check
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck .ci/run deploy/image/base deploy/image/build deploy/image/builder deploy/image/entrypoint
	$(SITE)

format: $(STAMP) ## Format the code and fix what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

settings: $(STAMP) ## Write docs/settings.md and the schema of the chart from the settings
	$(BIN)/python scripts/settings_reference.py
	$(BIN)/python scripts/chart_schema.py

reference: settings ## Write the other pages and tables that come from the code: metrics, commands, errors, model.toml
	$(BIN)/python scripts/metrics_reference.py
	$(BIN)/python scripts/tracing_costs.py
	$(BIN)/python scripts/cli_reference.py
	$(BIN)/python scripts/error_reference.py
	$(BIN)/python scripts/model_toml_reference.py
	$(BIN)/python scripts/model_server_reference.py

protos: $(STAMP) ## Compile the .proto files into the descriptor set that is loaded at run time
	$(BIN)/python scripts/compile_protos.py

docs: $(STAMP) ## Build the documentation's site into build/site; a broken link fails
	$(SITE)
	@echo "Open build/site/index.html."

bench: $(STAMP) ## Measure against other servers and write docs/benchmarks.md (45 minutes; needs wrk)
	$(BIN)/python -m benchmarks

build: $(STAMP) ## Build the wheel and the source archive into dist/
	$(BIN)/python -m build

clean: ## Remove .venv, caches and build results
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
