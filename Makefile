# `make demo` and `make test` need Python 3.11 or newer and nothing else: what is missing they install into .venv.
# Another Python: make PYTHON=python3.13 test. Options for the command behind a target: make test ARGS="-k pooling -x".
# The environment of `make test-oldest` needs Python 3.11 or 3.12, so it has a variable of its own: OLDEST_PYTHON.

VENV ?= .venv
OLDEST ?= .venv-oldest
PYTHON ?=
OLDEST_PYTHON ?=
ARGS ?=

# Threads of PyTorch that wait should sleep rather than spin: on busy cores that is several times as fast. Those of
# numpy's OpenBLAS cannot, and a small regression waits for them longer than it works.
export OMP_WAIT_POLICY ?= passive
export OPENBLAS_NUM_THREADS ?= 1

RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# Two processes, each of which keeps to whole files: their fixtures are made once. ARGS="-n 0" is one process.
PYTEST := -n 2 --dist loadfile --durations=10 --durations-min=0.5
OLDEST_STAMP := $(OLDEST)/.installed
# What meets scikit-learn, pandas and numpy where their versions differ.
OLDEST_TESTS := $(addprefix tests/test_,battery.py bundle*.py callbacks.py common*.py compose*.py classifier.py \
  copies.py embedder.py head*.py distributed_command.py distributed_parts.py inspection*.py packing.py pairs.py report.py safety.py search*.py skops.py sources.py texts.py travel.py)
PYTHONS := $(if $(PYTHON),$(PYTHON),python3 python3.11 python3.12 python3.13 python3.14 python)
# The oldest numpy has no wheels for Python 3.13.
OLDEST_PYTHONS := $(if $(OLDEST_PYTHON),$(OLDEST_PYTHON),python3.11 python3.12 python3)
NEW_ENOUGH := (3, 11) <= sys.version_info
OLD_ENOUGH := (3, 11) <= sys.version_info < (3, 13)

.DEFAULT_GOAL := help
.PHONY: help demo test test-ray test-oldest docs lint lint-style lint-docstrings lint-types lint-spelling lint-pins \
  format changelog-draft bench bench-gpu bench-plot dist clean distclean

help:  ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

demo: $(STAMP)  ## from raw tweets to sentiment, with pictures, in under two minutes
	$(RUN) examples/plot_tweet_sentiment.py $(ARGS)

test: $(STAMP)  ## run the tests but those of test-ray (those on real data where SKBERT_DATA names its folder)
	$(RUN) -m pytest $(PYTEST) -m "not ray" $(ARGS)

test-ray: $(STAMP)  ## run the tests on a Ray cluster of several processes, which they start and stop
	$(RUN) -m pytest -m ray --durations=10 --durations-min=5 $(ARGS)

test-oldest: $(OLDEST_STAMP)  ## run what meets scikit-learn, pandas and numpy, with their oldest versions
	$(OLDEST)/bin/python -m pytest $(PYTEST) -m "not ray" $(OLDEST_TESTS) $(ARGS)

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

# From nothing, since the gallery would keep what an older skbert printed, and pages of what is gone.
# Without running the examples: make docs ARGS="-D plot_gallery=0"
docs: $(STAMP)  ## build the site, offline, with every example run: docs/_build/html/index.html
	rm -rf docs/_build docs/_generated docs/gallery docs/reference/generated
	$(RUN) -m sphinx -q -W -d docs/_build/doctrees -b html $(ARGS) docs docs/_build/html
	$(RUN) tools/check_site.py docs/_build/html

changelog-draft: $(STAMP)  ## show what the next release's part of CHANGELOG.md would say
	$(RUN) -m towncrier build --draft

bench: $(STAMP)  ## measure the speed and the memory on this CPU, in under ten minutes
	$(RUN) benchmarks/bench_encode.py --corpora gop gop-all airline --texts 400 --stages $(ARGS)
	$(RUN) benchmarks/bench_encode.py --corpora imdb imdb-own few one --texts 50 --stages $(ARGS)
	$(RUN) benchmarks/bench_encode.py --models base --corpora gop --texts 60 --stages $(ARGS)
	$(RUN) benchmarks/bench_encode.py --models large --corpora gop --texts 20 --rounds 2 --stages $(ARGS)
	$(RUN) benchmarks/bench_memory.py

bench-gpu:  ## test and measure on a GPU: one command, nine minutes, no network; needs no environment, only PYTHON
	PYTHON="$(or $(PYTHON),python3)" bash benchmarks/gpu.sh $(ARGS)

# The wheel is made from the sdist: so a file that the sdist lacks is noticed, and what is left in build/ stays out.
dist: $(STAMP)  ## build the wheel and the sdist into dist/, and try both in empty environments
	rm -rf dist
	PIP_CONSTRAINT=constraints.txt $(RUN) -m build
	$(RUN) tools/check_dist.py $(ARGS)

bench-plot: $(STAMP)  ## write the picture and the tables of docs/guide/speed.md from what was measured
	$(RUN) benchmarks/plot_results.py $(ARGS)

clean:  ## remove caches and build products
	rm -rf build dist ./*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage htmlcov demo_output
	rm -rf docs/_build docs/_generated docs/gallery docs/reference/generated
	find skbert tests examples benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## remove the environments as well
	for made in $(VENV) $(OLDEST); do if test -f $$made/pyvenv.cfg; then rm -rf $$made; fi; done

# Both run again when what they install has changed. A half-made or outdated environment is made anew.
$(STAMP): pyproject.toml constraints.txt
	@$(call install,VENV,constraints.txt,dev,PYTHON,$(PYTHONS),$(NEW_ENOUGH),3.11 or newer)

$(OLDEST_STAMP): pyproject.toml constraints-oldest.txt
	@$(call install,OLDEST,constraints-oldest.txt,test,OLDEST_PYTHON,$(OLDEST_PYTHONS),$(OLD_ENOUGH),3.11 or 3.12)

# An environment in the folder that variable 1 names, with the versions of file 2 and the extra 3. It is made by the
# Python that variable 4 names, or else by the first of 5 that is of a version as in 6 (in words: 7) and has ensurepip,
# which Debian and Ubuntu keep apart.
define install
	if ! $($(1))/bin/python -c 'import sys, pip; sys.exit(not $(6))' 2>/dev/null; then \
	  if test -e $($(1)) && ! test -f $($(1))/pyvenv.cfg; then \
	    echo "$($(1)) exists and is no Python environment. Move it away, or name another: make $(1)=folder …" >&2; exit 1; \
	  fi; \
	  found=; \
	  for python in $(5); do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not $(6))' >/dev/null 2>&1; then \
	      found=$$python; break; \
	    fi; \
	  done; \
	  if test -z "$$found"; then \
	    echo "$($(1)) needs Python $(7) with its venv module; tried: $(5)." >&2; \
	    echo "Install one (on Debian and Ubuntu with python3-venv), or name it: make $(4)=/path/to/python3 …" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $($(1)) with $$("$$found" --version) ($$found)."; \
	  "$$found" -m venv --clear $($(1)) || exit 1; \
	fi; \
	echo "Installing skbert and its tools into $($(1)): once, a few minutes, most of it PyTorch."; \
	$($(1))/bin/python -m pip install --quiet --no-input --disable-pip-version-check -c $(2) -e '.[$(3)]' && \
	touch $($(1))/.installed
endef
