# Each target does all its own set-up on a fresh machine with CPython 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TIER ?= default
export UV_PYTHON_DOWNLOADS = never

.PHONY: demo test lint types unit docs lock clean

demo: $(VENV)/ready            ## the main job on real models, no key needed
	$(BIN)/smart demo --tier $(TIER)

test: $(VENV)/ready lint types docs unit   ## lint, types, docs, tests

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

unit: $(VENV)/ready
	$(BIN)/pytest -n 2 --dist worksteal

docs: $(VENV)/ready            ## the documentation site, strictly, into site/
	$(BIN)/python scripts/cli_reference.py
	$(BIN)/zensical build --strict --clean

$(VENV)/ready: requirements/dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	touch $@

lock:                          ## re-resolve the pinned, hashed development environment
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra local --extra frames --extra files --group dev pyproject.toml -o requirements/dev.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
