# make demo   from nothing to a dashboard, on a machine with Python 3.11-3.13 and make
# make test   the same, then all tests
# make check  style and types
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check wheel clean

demo: $(VENV)/.ready
	$(BIN)/scanwise experiment=prostate_small

test: $(VENV)/.ready
	$(BIN)/python -m pytest

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(VENV)/.ready
	$(BIN)/python -m build --no-isolation

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "scanwise needs Python 3.11, 3.12 or 3.13; set PYTHON=python3.x"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) build dist reports/runs .pytest_cache .mypy_cache .ruff_cache
