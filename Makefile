# demo and test need Python 3.11 and make; check needs Debian's PostgreSQL 15 beside them.

PYTHON ?= python3
BIN := .venv/bin
DEBIAN_15 := /usr/lib/postgresql/15/bin
WORKERS ?= 2

.PHONY: demo test check lint check-15 slow bench coverage freeze clean

demo: .venv/ready
	$(BIN)/runner demo

test: .venv/ready
	$(BIN)/pytest -n $(WORKERS) -m "not slow and not check"

check: lint check-15

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/squawk migrations/*/*.sql

check-15: .venv/ready
	@test -x $(DEBIAN_15)/postgres || { \
	    echo "error: there is no PostgreSQL 15 in $(DEBIAN_15)"; \
	    echo "hint: apt-get install postgresql-15 postgresql-15-plpgsql-check pgbouncer chromium"; exit 1; }
	RUNNER_PG_BIN=$(DEBIAN_15) $(BIN)/pytest -n $(WORKERS) -m "not slow"

slow: .venv/ready
	$(BIN)/pytest -n $(WORKERS) -m slow

bench: .venv/ready
	$(BIN)/python -m benchmarks

coverage: .venv/ready
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not slow and not check"
	$(BIN)/coverage combine
	$(BIN)/coverage report

# Appends the migrations that are not yet released to checksums.txt: from then on they may not change.
freeze: .venv/ready
	$(BIN)/python -m runner.freeze

clean:
	rm -rf .venv dist build .pytest_cache .ruff_cache

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@
