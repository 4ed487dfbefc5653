# Everything here needs Python >= 3.11, pip and make; the rest is installed into .venv and .venv-3.*.
#
#   make demo    two agents through everything, in a minute
#   make test    the whole suite, on Python 3.11 and on the newest Python, with either JSON reader

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto

# The rules of these groups must each be checked by a test.
GROUPS := ENV,EVT,FRAG,MENT,TOK,REF,OUT,AUTH,HS,CAP,CLOSE,HB,SEND,ERR,ROUTE,LIM,PAIR,DEV,REST

.PHONY: help demo test quick soak lint types check bench lock clean

help:
	@sed -n 's/^#   //p' $(MAKEFILE_LIST)

# A virtual environment from the lock file, with the project itself in editable form.
define install
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
endef

$(VENV)/.installed: requirements-dev.lock pyproject.toml
	$(install)

$(VENV)-3.%/.installed: requirements-dev.lock pyproject.toml
	$(install)

demo: $(VENV)/.installed
	$(BIN)/clawproto demo

# Every interpreter in turn; the last run, with all tests, prints the table of rules.
test: $(VENV)/.installed
	@set -e; \
	for python in $$($(BIN)/python tools/pythons.py); do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		$(MAKE) --no-print-directory PYTHON=$$python $(VENV)-$$version/.installed; \
		echo "== Python $$version, standard library JSON"; \
		$(VENV)-$$version/bin/python -m pytest -q -n $(WORKERS) --json-backend=stdlib -m 'not slow and not soak'; \
		newest=$$version; \
	done; \
	for version in $$(ls -d $(VENV)-3.*/.installed | sed 's|$(VENV)-||; s|/.installed||' | sort -V | grep -v "^$$newest$$"); do \
		echo "== Python $$version, fast JSON"; \
		$(VENV)-$$version/bin/python -m pytest -q -n $(WORKERS) --json-backend=msgspec -m 'not slow and not soak'; \
	done; \
	echo "== Python $$newest, fast JSON, all tests"; \
	$(VENV)-$$newest/bin/python -m pytest -q -n $(WORKERS) --json-backend=msgspec -m 'not soak' --rule-table \
		--require-groups=$(GROUPS)

quick: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n $(WORKERS) -m 'not slow and not soak'

# Ten minutes a driver against a hub with 75-second tokens, the network cut every 20 seconds.
soak: $(VENV)/.installed
	$(BIN)/python -m pytest -q -m soak tests/soak

lint: $(VENV)/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/mypy

check: lint types test

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks

lock: $(VENV)/.installed
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --no-header \
		--no-emit-index-url --output-file requirements-dev.lock pyproject.toml

clean:
	rm -rf $(VENV) $(VENV)-3.* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
