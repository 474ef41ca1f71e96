# serve and test are all that a newcomer needs: both make .venv and build the package on their first run.
PYTHON ?= python3
VENV ?= .venv
CLIENTS ?= .venv-clients
CLIENTS_PYTHON ?= $(PYTHON)
BIN := $(VENV)/bin
ARGS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check
NATIVE := pyproject.toml CMakeLists.txt $(wildcard native/src/*)

.PHONY: serve test check bench build clean

serve: $(VENV)/.installed
	@$(BIN)/inglenook serve $(ARGS)

test: $(VENV)/.test $(CLIENTS)/.installed
	INGLENOOK_TEST_CLIENTS=$(CLIENTS) $(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.check
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy

bench: $(VENV)/.installed
	@$(BIN)/inglenook bench $(ARGS)

build: $(VENV)/.installed

clean:
	rm -rf build $(VENV) $(CLIENTS)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Editable: a change of Python takes effect at once, a change of C++ at the next make.
$(VENV)/.installed: $(NATIVE) | $(VENV)/bin/python
	@echo "Installing inglenook into $(VENV) and building its kernels: a minute or two ..."
	$(PIP) install -q -e .
	@touch $@

# torch first and pinned: whatever resolves another torch brings gigabytes of CUDA.
$(VENV)/.test: $(VENV)/.installed requirements-test.txt
	$(PIP) install -q torch==2.13.0
	$(PIP) install -q -r requirements-test.txt
	@touch $@

# The agents' libraries that the tests run against the server. Apart, since pyautogen 0.2 asks for numpy 1 (and Python 3.12
# at most: CLIENTS_PYTHON names one where the default is newer).
$(CLIENTS)/.installed: requirements-clients.txt
	$(CLIENTS_PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip --disable-pip-version-check install -q -r requirements-clients.txt
	@touch $@

$(VENV)/.check: $(VENV)/.installed requirements-check.txt
	$(PIP) install -q -r requirements-check.txt
	@touch $@
