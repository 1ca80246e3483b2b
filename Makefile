# `make demo` and `make test` need Python 3.11 or newer and nothing else: what is missing they install into .venv.
# Another Python: make PYTHON=python3.13 test. Options for the command behind a target: make test ARGS="-k pooling -x".

VENV ?= .venv
PYTHON ?=
ARGS ?=

# Threads of PyTorch that wait should sleep rather than spin: on busy cores that is several times as fast.
export OMP_WAIT_POLICY ?= passive

RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PYTHONS := $(if $(PYTHON),$(PYTHON),python3 python3.11 python3.12 python3.13 python3.14 python)
# An environment can be made by a Python that is new enough and has ensurepip (Debian and Ubuntu keep it apart).
CAN_MAKE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
IS_MADE := import sys, pip; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help demo test lint lint-style lint-docstrings lint-types lint-spelling lint-pins format changelog-draft clean distclean

help:  ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP)  ## from raw tweets to sentiment, with pictures, in under two minutes
	$(RUN) examples/plot_tweet_sentiment.py $(ARGS)

test: $(STAMP)  ## run the tests (those on real data where SKBERT_DATA names its folder)
	$(RUN) -m pytest --durations=10 --durations-min=0.5 $(ARGS)

lint: lint-style lint-docstrings lint-types lint-spelling lint-pins  ## check style, docstrings, types, spelling and pins

lint-style: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

lint-docstrings: $(STAMP)
	$(RUN) tools/check_docstrings.py

lint-types: $(STAMP)
	$(RUN) -m mypy

lint-spelling: $(STAMP)
	$(RUN) -m codespell_lib

lint-pins: $(STAMP)
	$(RUN) tools/check_pins.py

format: $(STAMP)  ## put the code into its form, and mend what ruff can mend
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

changelog-draft: $(STAMP)  ## show what the next release's part of CHANGELOG.md would say
	$(RUN) -m towncrier build --draft

clean:  ## remove caches and build products
	rm -rf build dist ./*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage htmlcov demo_output
	find skbert tests examples benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## remove the environment as well
	if test -f $(VENV)/pyvenv.cfg; then rm -rf $(VENV); fi

# Runs again when what it installs has changed. A half-made or outdated environment is made anew.
$(STAMP): pyproject.toml constraints.txt
	@if ! $(RUN) -c '$(IS_MADE)' 2>/dev/null; then \
	  if test -e $(VENV) && ! test -f $(VENV)/pyvenv.cfg; then \
	    echo "$(VENV) exists and is no Python environment. Move it away, or name another: make VENV=folder …" >&2; exit 1; \
	  fi; \
	  found=; \
	  for python in $(PYTHONS); do \
	    if "$$python" -c '$(CAN_MAKE)' >/dev/null 2>&1; then found=$$python; break; fi; \
	  done; \
	  if test -z "$$found"; then \
	    echo "skbert needs Python 3.11 or newer with its venv module; tried: $(PYTHONS)." >&2; \
	    echo "Install one (on Debian and Ubuntu with python3-venv), or name it: make PYTHON=/path/to/python3 …" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$("$$found" --version) ($$found)."; \
	  "$$found" -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing skbert and its tools into $(VENV): once, a few minutes, most of it PyTorch."
	@$(RUN) -m pip install --quiet --no-input --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@
