# The two commands of the README, and what developers run.
# What runs something installs what it needs first; installing twice does nothing.

PYTHON := .venv/bin/python
TOPOLOGY ?= quad

.PHONY: help install dev try up down test busy lint bench soak fuzz clean

help:            ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

install:         ## system packages and the Python environment
	@python3 -m testbed.install

dev:             ## the same, with what tests and lint need
	@python3 -m testbed.install --dev

try: install     ## a first look: a T1 switch dies under an all-reduce; verdict and report
	@$(PYTHON) -m testbed drill run allreduce-t1-crash

up: install      ## bring up a topology: make up TOPOLOGY=tiny
	@$(PYTHON) -m testbed up $(TOPOLOGY) || test $$? -eq 130

down:            ## take every instance down
	@$(PYTHON) -m testbed down --all

test: dev        ## every test but the long ones
	$(PYTHON) -m pytest -n auto --dist worksteal -m "not soak and not root"
	$(PYTHON) -m pytest -m "root and not soak"

busy: dev        ## the tests of the fabric on a machine that is busy with something else
	$(PYTHON) tests/busy.py -- $(PYTHON) -m pytest -m "root and not soak"

lint: dev        ## ruff, and mypy (strict on the pure packages)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

bench: dev       ## how long `up` takes, how exact ports are: tables, no verdict
	$(PYTHON) tests/bench

soak: dev        ## the long tests
	$(PYTHON) -m pytest -m soak

fuzz: dev        ## hostile bytes and text against every decoder, 100,000 examples each
	HYPOTHESIS_PROFILE=fuzz $(PYTHON) -m pytest tests/unit --timeout 1800 \
		-k "rubbish or mutation or any_text"

clean:           ## the environment and caches; instances are `make down`
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
