# Each target does all its own set-up on a fresh machine with CPython 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_PYTHON_DOWNLOADS = never
LOCK := -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
QUIET := $(shell test -t 2 || echo -q)

.PHONY: demo test lint types unit docs dist lock clean

demo: $(VENV)/package          ## the main job on real models, no key needed
	$(BIN)/smart demo

test: $(VENV)/ready lint docs unit   ## lint, docs, tests, and types, which are among the tests (tests/typing)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

# Bytecode is written: each of the four reads what another has rewritten. Small matrices gain nothing from threads, and
# the threads of four processes would spend a fifth of their time waiting for each other.
unit: $(VENV)/ready            ## all tests, in four processes
	env -u PYTHONDONTWRITEBYTECODE OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/pytest -n 4 --dist worksteal

docs: $(VENV)/ready            ## the documentation site, strictly, into site/
	$(BIN)/python scripts/cli_reference.py
	$(BIN)/zensical build --strict --clean

dist: $(VENV)/ready            ## wheel and sdist into dist/, checked as a user would meet them
	rm -rf dist
	$(BIN)/uv build -q --python $(BIN)/python --out-dir dist
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements/dist.txt
	$(BIN)/twine check --strict dist/*
	$(BIN)/python scripts/check_dist.py dist

# What the demo needs: the package and the library that runs models on this machine. About 150 MB to download.
$(VENV)/package: requirements/run.txt requirements/uv.txt pyproject.toml
	@echo "setting up $(VENV): the package and what it needs (about 150 MB to download, 600 MB on disk)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "  uv, which installs the rest"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@echo "  packages, by hash"
	@$(BIN)/uv pip install $(QUIET) --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/run.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	@$(BIN)/python -m compileall -q src
	@touch $@

# What tests, types and documentation need besides.
$(VENV)/ready: $(VENV)/package requirements/dev.txt
	@echo "setting up $(VENV): what tests, types and documentation need (another 200 MB)"
	@$(BIN)/uv pip install $(QUIET) --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

lock:                          ## re-resolve the pinned, hashed environments
	$(BIN)/uv pip compile $(LOCK) --extra local --extra frames --extra files --extra gateway --extra learned --group dev pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile $(LOCK) --extra local -c requirements/dev.txt pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile $(LOCK) --group dist -c requirements/dev.txt -o requirements/dist.txt
	echo uv | $(BIN)/uv pip compile $(LOCK) -c requirements/dev.txt - -o requirements/uv.txt

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache
