# Sets itself up in .venv with the first command, and needs no network from then on.
# Wants: Python 3.11 or newer, pip, make.

# The first Python that is new enough and really starts.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
# torch is installed first and by itself, because which build you need depends on your machine.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
LAB_ARGS ?=
TRAIN_ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))
AS_ROOT := $(filter 0,$(shell id -u))

.DEFAULT_GOAL := help
.PHONY: help lab test notebooks train bench check clean chromium
.DELETE_ON_ERROR:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  Another torch build: make lab TORCH_INDEX=<the index address printed on"
	@echo "  pytorch.org/get-started>   Another Python: make lab PYTHON=python3.12"

lab: $(VENV)/.lab  ## set up, then open the first notebook in JupyterLab
	$(PY) -m jupyterlab $(if $(AS_ROOT),--allow-root) $(LAB_ARGS) notebooks/00_first_image.ipynb

test: $(VENV)/.dev chromium  ## set up, then run every test and every notebook
	$(PY) -m ruff check
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=$$(( ($$(getconf _NPROCESSORS_ONLN) + 1) / 2 )) \
	BORINGFUSION_MINUTES=0.05 BORINGFUSION_RUNS=$$(mktemp -d) \
	$(PY) -m pytest -n 2 --dist loadfile \
	--nbval-lax --nbval-current-env --nbval-cell-timeout=120 tests $(NOTEBOOKS)

notebooks: $(VENV)/.dev  ## run every notebook in order and store what it shows
	HF_HUB_OFFLINE=1 $(PY) notebooks/run.py

train: $(VENV)/.lab  ## train data/tiny-sd anew: says first how long, goes on where it stopped
	$(PY) -m boringfusion_lite.train_all $(TRAIN_ARGS)

bench: $(VENV)/.dev  ## measure speed and memory against diffusers; takes 40 minutes, 9 GB of disk
	$(PY) benchmarks/speed.py
	$(PY) benchmarks/steps.py --size tiny --compiled
	$(PY) benchmarks/steps.py --size "SD 1.5"
	$(PY) benchmarks/sliders.py
	$(PY) benchmarks/full_size.py
	$(PY) benchmarks/report.py

check: $(VENV)/.lab  ## is everything here that the notebooks need?
	@$(PY) -m boringfusion_lite.runtime

clean:  ## remove the environment and the caches
	rm -rf $(VENV) .cache .hypothesis .pytest_cache .ruff_cache

# A stamp file in .venv says that a step is done; changed requirements undo it.
$(PY):
	@$(if $(PYTHON),,echo "No Python 3.11 or newer found. Install one, or: make PYTHON=<path>"; exit 1)
	@echo "Setting up $(VENV) with $$($(PYTHON) --version). This happens once and takes minutes."
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
	echo "This Python comes without venv (package python3-venv): using virtualenv instead."; \
	$(PYTHON) -m pip install --quiet --target .cache/virtualenv virtualenv && \
	PYTHONPATH=.cache/virtualenv $(PYTHON) -m virtualenv --quiet $(VENV); }

$(VENV)/.torch: | $(PY)
	$(PIP) "$(TORCH)" $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@touch $@

$(VENV)/.lab: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) -c constraints.txt -e ".[lab]"
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) -c constraints.txt -e ".[dev]"
	@touch $(VENV)/.lab $@

chromium:
	@for b in chromium chromium-browser google-chrome chrome; do \
	command -v $$b >/dev/null && exit 0; done; \
	$(if $(AS_ROOT),{ apt-get update -qq && \
	apt-get install -y -qq --no-install-recommends chromium >/dev/null; } ||) \
	echo "No Chromium or Chrome here, so the tests in a browser do not run. Debian: apt install chromium"
