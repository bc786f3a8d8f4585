# Every path below is relative, so a folder with spaces in its name is fine. What make
# itself cannot do is `make -f "/a b/Makefile"`: change into the folder instead.
# No make on Windows: CONTRIBUTING.md has the plain commands.

PYTHON ?= python3
ARGS ?=
# Most tests wait for a server of their own; what is measured is measured in bounds wide
# enough for a neighbour. 0 runs one test after the other.
WORKERS ?= 2

BIN := .venv/bin
STAMP := .venv/.installed
FAST := not slow and not editor and not gpu

.DEFAULT_GOAL := help
# `make check test` reports in that order, and its output ends with the tests' summary.
.NOTPARALLEL:

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  PYTHON=python3.12 takes another Python; ARGS="-k settings" is handed to pytest.'

.PHONY: setup
setup: $(STAMP) ## install everything, the starter model included, into .venv

$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "lsp-stablecode needs Python 3.11 or later, and '$(PYTHON)' is:" \
	    "$$("$(PYTHON)" --version 2>/dev/null || echo 'not found')" >&2; \
	  echo "Name another one: make PYTHON=python3.12 setup" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments." \
	    "On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@"$(BIN)/python" -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	$(BIN)/python -m pip install --disable-pip-version-check \
	  -c constraints.txt -e ".[dev,starter]"
	@touch $@

.PHONY: demo
demo: $(STAMP) ## watch a real model complete a real file through the server
	@$(BIN)/lsp-stablecode demo

.PHONY: test
test: $(STAMP) ## run the tests (all but slow, editor and gpu)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "$(FAST)" $(ARGS)

.PHONY: slow
slow: $(STAMP) ## run the slow tests (minutes, up to 24 GiB of memory)
	$(BIN)/python -m pytest -m "slow and not editor and not gpu" $(ARGS)

.PHONY: gpu
gpu: $(STAMP) ## run the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu $(ARGS)

.PHONY: editors
editors: $(STAMP) ## try VS Code, Neovim and Emacs, installing what is missing of them
	$(BIN)/python -m pytest -m editor -rs $(ARGS)

.PHONY: chaos
chaos: $(STAMP) ## kill, stop and starve a shared engine for ten minutes
	$(BIN)/python -m pytest -m slow -s tests/test_chaos.py $(ARGS)

.PHONY: soak
soak: $(STAMP) ## type 100,000 edits and see that memory stays as it was
	$(BIN)/python -m pytest -m slow -s tests/test_soak.py $(ARGS)

.PHONY: check
check: $(STAMP) ## format, lint, types, direction of imports; changes nothing
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: fix
fix: $(STAMP) ## format, and repair what the linter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: eval
eval: $(STAMP) ## measure completions on every 12th HumanEval infilling task
	$(BIN)/lsp-stablecode eval infilling --every 12

.PHONY: bench
bench: $(STAMP) ## measure speed; for llama.cpp beside it: pip install -e ".[peers]"
	$(BIN)/lsp-stablecode bench engine
	$(BIN)/lsp-stablecode bench keys

.PHONY: picture
picture: $(STAMP) ## draw the README's picture again, from the demo
	$(BIN)/lsp-stablecode demo --picture docs/demo.svg

.PHONY: clean
clean: ## remove .venv, caches and build outputs
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache .benchmarks
	find lsp_stablecode model tests -name __pycache__ -type d -prune -exec rm -rf {} +
