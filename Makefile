# Everything that one does with this repository. Needs Python >= 3.11 with pip, and make.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; exit; }; done; echo python3)
BIN := .venv/bin
ARGS ?=
# The groups of rules in which no rule may be without a passing test: all of them.
GROUPS ?= ENV,EVT,AUTH,HS,CAP,CLOSE,TOK,REF,OUT,DEV,PAIR,REST,ROUTE,SEND,ERR,DEL,RX,RECALL,READ,STREAM,TYPE,PRES,META,NOTIFY,PERM,FRAG,MENT,RPL,R1,R2,HIST,HB,MEDIA,LIM,SILENT,LEGACY,HUB

.PHONY: help
help:
	@echo "make demo   a hub and two agents, through pairing, rotations, outages and logout"
	@echo "make demo-fleet   200 agents in two processes on one store, one of which is killed"
	@echo "make test   the whole suite: on this Python and others installed, with and without msgspec"
	@echo "make quick  the suite once, on this Python       make lint    style"
	@echo "make types  pyright and mypy                     make bench   benchmarks"
	@echo "make soak   ten-minute sessions, hundreds of kills   make lock    renew requirements-dev.lock"
	@echo "make crash  kills at every step               make explore every state within reach"
	@echo "make fuzz   a fuzz target                     make simulate a population"
	@echo "make mutation   small mistakes, one at a time"
	@echo "make build  wheel and sdist                      make clean   remove what was made"

# Quick when nothing has changed; the script knows when an environment is out of date.
.PHONY: environment
environment:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) tools/environments.py create .venv

.PHONY: demo
demo: environment
	$(BIN)/clawproto demo $(ARGS)

.PHONY: demo-fleet
demo-fleet: environment
	$(BIN)/clawproto demo --fleet $(ARGS)

.PHONY: simulate
simulate: environment
	$(BIN)/clawproto simulate $(ARGS)

.PHONY: test
test: environment
	@$(BIN)/python tools/environments.py test $(if $(GROUPS),--require-groups=$(GROUPS)) $(ARGS)

.PHONY: quick
quick: environment
	$(BIN)/python -m pytest -q -n auto $(ARGS)

.PHONY: lint
lint: environment
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: types
types: environment
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/mypy

.PHONY: bench
bench: environment
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: soak
soak: environment
	$(BIN)/python -m pytest -q -n auto -m soak $(ARGS)

.PHONY: crash
crash: environment
	$(BIN)/python -m tests.crash $(ARGS)

.PHONY: explore
explore: environment
	$(BIN)/python -m clawproto.testing.explore $(ARGS)

.PHONY: fuzz
fuzz: environment
	$(BIN)/python -m tests.fuzz $(or $(TARGET),codec) $(ARGS)

.PHONY: mutation
mutation: environment
	$(BIN)/python -m tools.mutation $(or $(ARGS),--all)

.PHONY: lock
lock: environment
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--output-file requirements-dev.lock pyproject.toml

.PHONY: build
build: environment
	rm -rf dist
	$(BIN)/hatchling build

.PHONY: clean
clean:
	rm -rf .venv .venv-* build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
