# Two commands on a fresh machine: `make run` and `make test`. The rest is for people who work on Postlane.
# Nothing is installed outside .venv, but for `make test` as root, which installs the Debian packages that the
# scenario tests use as peers (tests/install-packages.sh).

# The distribution's Python where it is new enough and can make environments: it is compiled with profile-guided
# optimisation, which version managers leave out (the interpreter is then 1.7 times slower). make PYTHON=... overrules.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
SETUP_LOG := .cache/setup.log
# Compiled modules are kept (__pycache__): without them each process of a node compiles all of Postlane when it starts.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check format bench eval chaos lock clean

run: $(VENV)/run.stamp
	@HOST="$(HOST)" SMTP_PORT="$(SMTP_PORT)" WEB_PORT="$(WEB_PORT)" exec $(BIN)/postlane serve

# All tests are collected once beside the checks: what is compiled for that need not be four times at once. There are more
# workers than processors, since scenario tests wait for most of their time; what a file's tests share is made once.
test: $(VENV)/dev.stamp
	@sh tests/install-packages.sh
	@mkdir -p .cache
	@$(BIN)/pytest --collect-only -qq >.cache/collected.log 2>&1 & $(MAKE) --no-print-directory check && wait
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check relay tests bench
	$(BIN)/ruff check relay tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff format relay tests bench
	$(BIN)/ruff check --fix relay tests bench

bench: $(VENV)/dev.stamp
	@sh tests/install-packages.sh
	$(BIN)/python -m bench $(BENCH_ARGS)

chaos: $(VENV)/dev.stamp
	KILLS=500 $(BIN)/pytest -p no:xdist --timeout 3600 tests/scenario/test_crash.py

eval: $(VENV)/run.stamp
	@if [ -d ../shared/eval ]; then \
	  python3 ../shared/eval/evaluate.py bounces --postlane $(BIN)/postlane; \
	  python3 ../shared/eval/evaluate.py replies --postlane $(BIN)/postlane; \
	  python3 ../shared/eval/evaluate.py classify --postlane $(BIN)/postlane; \
	else echo "No labelled mail beside the project (../shared/eval): nothing to evaluate."; fi

# Locked dependencies with hashes; no index address is written into them.
lock: $(VENV)/dev.stamp
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra build -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile -q --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --extra build --extra dev -o requirements-dev.lock pyproject.toml

# $(call setup,LOCK FILE): virtual environment, locked dependencies, Postlane itself; the noise goes to the log.
define setup
	@mkdir -p .cache
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Postlane needs Python 3.11 or newer; $(PYTHON) is older. Say make PYTHON=python3.12 ..."; exit 1; }
	@printf 'Setting up (first time, about a minute) ................ '; start=$$(date +%s); \
	{ $(PYTHON) -m venv $(VENV) && $(BIN)/pip install --no-input --require-hashes -r $(1) && \
	  $(BIN)/pip install --no-input --no-deps --no-build-isolation -e .; } >$(SETUP_LOG) 2>&1 || \
	{ echo failed; tail -n 20 $(SETUP_LOG); echo "The whole log: $(SETUP_LOG)"; exit 1; }; \
	echo "done in $$(($$(date +%s) - start)) s"
endef

$(VENV)/run.stamp: requirements.lock pyproject.toml
	$(call setup,requirements.lock)
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock pyproject.toml
	$(call setup,requirements-dev.lock)
	@touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) .cache build *.egg-info
