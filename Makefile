# Every target sets itself up: a virtual environment in .venv, made by PYTHON (3.10 or newer), with the
# project in it as a built wheel. Stamps in the environment make a second run quick.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
MEMORY_REQUESTS ?= 100000
CLIENTS ?=
PSYCOPG ?=
WRITE ?=
FUZZ_SECONDS ?= 3600
# Test processes side by side, more than cores since many a test waits; 0 runs all tests in one. A class of contract
# tests records once, so it stays whole.
WORKERS ?= 4

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# All that is asked of a Python, at once: to start one takes a tenth of a second.
FACTS := $(shell $(PYTHON) -c 'import os, random, sys, sysconfig; \
  seed = "$(TEST_SEED)" or str(random.randrange(2**32)); \
  print("%d.%d.%d" % sys.version_info[:3], int(sys.version_info >= (3, 12)), seed, random.Random(seed).randrange(2**32), \
    *("Python.h" for _ in [0] if os.path.exists(sysconfig.get_path("include") + "/Python.h")))' 2>/dev/null)
PYTHON_FOUND := $(word 1,$(FACTS))
# Before 3.12, two threads that begin to be traced at once may fail with "Cannot install a trace function while another
# trace function is being installed" where an audit hook runs between (the tests have one): no coverage there.
TRACES_SAFELY := $(word 2,$(FACTS))
# Sets have another order in each run, unless TEST_SEED is given.
TEST_SEED := $(word 3,$(FACTS))
export TEST_SEED
HASH_SEED := $(word 4,$(FACTS))
# Nobody's settings but ours decide what a test, the demo or a benchmark sees. Hundreds of processes are started: one
# that may not keep what it compiled takes twice as long.
CLEAN := env -u PYTHONPATH -u PYTHONHOME -u PYTHONSTARTUP -u PYTHONDONTWRITEBYTECODE $(addprefix -u ,$(filter OTEL_% TIMETRACER_%,$(.VARIABLES))) \
  PYTHONHASHSEED=$(HASH_SEED)

EXPORTERS := $(patsubst %/pyproject.toml,%,$(wildcard exporters/*/pyproject.toml))
SOURCES := $(shell find src $(addsuffix /src,$(EXPORTERS)) -name '*.py' -o -name '*.js' -o -name '*.css' -o -name py.typed -type f 2>/dev/null)
PROJECTS := pyproject.toml $(addsuffix /pyproject.toml,$(EXPORTERS))

# mysqlclient is built from its source, where its library's headers are (libmariadb-dev), Python's, and a compiler.
MYSQL_CONFIG := $(and $(word 5,$(FACTS)),$(shell command -v mariadb_config || command -v mysql_config),$(shell command -v pkg-config),$(shell command -v cc))

BIN = $(VENV)/bin
STAMPS = $(VENV)/stamps
GROUP = $(if $(CONSTRAINTS),test,dev)
CREATED = $(STAMPS)/python-$(PYTHON_FOUND)
# What `make test` does not run, or only in part.
ELSEWHERE = $(sort $(shell sed -nE 's/^(suite-[a-z]+|fuzz):.*/\1/p' Makefile)) (make help says what they are)
COMMA := ,
DISTRIBUTIONS = $(shell sed -nE 's/^distribution-([a-z-]+) = .*/\1/p' pyproject.toml)
# pip says much, or with --quiet nothing for minutes: a dot for each package that it looks at, and for each three
# seconds in which it says nothing. Bash reads, since an awk may wait for a whole block of lines.
DOTS := while :; do if read -r -t 3 line; then case "$$line" in Collecting*) printf .;; \
  "Building wheels"*) printf ' building ';; "Installing collected"*) printf ' installing ';; esac; \
  elif [ $$? -gt 128 ]; then printf .; else break; fi; done; echo

.PHONY: help demo test check suite-sqlalchemy suite-memory suite-faults suite-load suite-injection suite-rabbitmq suite-browser suite-transports suite-distributions suite-clients suite-urllib3 suite-httpclient suite-drivers suite-django suite-stores suite-tooling suite-processes bench bench-quick fuzz fuzz-cassettes test-whole test-oldest test-newest docs dist format install clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: $(STAMPS)/installed ## record a small service, stop its upstream, replay it (under a minute after set-up)
	@$(CLEAN) $(BIN)/python docs/demo/run.py

test: $(STAMPS)/installed ## set up and run the tests, with branch coverage where Python is 3.12 or newer
	@echo "running the tests, $(WORKERS) at a time (about 4 minutes on two cores$(if $(filter 1,$(TRACES_SAFELY)),$(COMMA) and more with coverage))"
	@echo "left to other targets: $(ELSEWHERE)"
ifeq ($(TRACES_SAFELY),1)
	@rm -rf .coverage
	@$(CLEAN) $(BIN)/coverage run -m pytest -n $(WORKERS) --dist loadscope $(PYTEST_ARGS)
	@$(BIN)/coverage combine --quiet && $(BIN)/coverage report
else
	@$(CLEAN) $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope $(PYTEST_ARGS)
endif

check: $(STAMPS)/installed ## types (mypy and pyright, strict), lint, format, import arrows, what is known to be unsafe
	$(BIN)/mypy src tests benchmarks docs/demo
	@for exporter in $(EXPORTERS); do echo "$(BIN)/mypy $$exporter"; \
	  (cd $$exporter && MYPYPATH=src $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml src tests); done
	$(BIN)/pyright --pythonpath $(BIN)/python
	@$(CLEAN) $(BIN)/python -m pytest --quiet tests/suite_typing
	$(BIN)/python -m tests.exported_types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tests.import_arrows
	$(BIN)/bandit --quiet -ll --recursive src $(addsuffix /src,$(EXPORTERS))
	$(BIN)/python -m tests.known_vulnerabilities

format: $(STAMPS)/tools ## put the sources into the form that `make check` asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMPS)/installed .venv-bench/stamps/peers ## what recording and replaying cost, beside other packages; writes benchmarks/results.* (25 minutes)
	@$(CLEAN) $(BIN)/python benchmarks/bench.py --peers .venv-bench/bin/python --folder benchmarks --docs docs/performance.md

bench-quick: $(STAMPS)/installed ## instructions only: fails where one costs 10 % more than benchmarks/instructions.json says (2 minutes; WRITE=1 writes it)
	@$(CLEAN) $(BIN)/python benchmarks/quick.py $(if $(WRITE),--write)

suite-sqlalchemy: $(STAMPS)/installed ## SQLAlchemy's own compliance suite: bare, recorded, replayed without the database (15 minutes)
	@$(CLEAN) $(BIN)/python tests/suite_sqlalchemy/run.py --write docs/sqlalchemy-suite.md

suite-memory: $(STAMPS)/installed ## 100,000 recorded requests in one process, whose memory stays flat (half an hour)
	@$(CLEAN) $(BIN)/python tests/suite_memory/run.py --requests $(MEMORY_REQUESTS)

suite-faults: $(STAMPS)/installed ## a recorded service killed 330 times, also on a busy machine, and all other faults (20 minutes)
	@$(CLEAN) FAULT_KILLS=300 $(BIN)/python -m pytest tests/faults $(PYTEST_ARGS)
	@$(CLEAN) FAULT_KILLS=30 FAULT_BUSY=8 $(BIN)/python -m pytest tests/faults/test_kill.py $(PYTEST_ARGS)

suite-load: $(STAMPS)/installed ## thousands of requests to servers with workers: each has its own cassette (10 minutes)
	@$(CLEAN) LOAD_REQUESTS=2000 LOAD_AT_ONCE=200 $(BIN)/python -m pytest tests/load $(PYTEST_ARGS)

suite-injection: $(STAMPS)/installed ## each function of ours that runs in a recording or a replay fails, one at a time (half an hour)
	@$(CLEAN) $(BIN)/python -m tests.suite_injection.run

suite-rabbitmq: $(STAMPS)/installed ## jobs that come over a real RabbitMQ, which Debian's package brings (a minute)
	@$(CLEAN) $(BIN)/python -m pytest tests/suite_rabbitmq $(PYTEST_ARGS)

suite-browser: $(STAMPS)/installed ## the page of `view` in a real browser, which Debian's chromium package brings (ten seconds)
	@$(CLEAN) $(BIN)/python -m pytest tests/suite_browser $(PYTEST_ARGS)

suite-transports: ## what Logfire's and Datadog's clients send goes on, and counts nowhere (a minute; in .venv-transports)
	@$(MAKE) --no-print-directory VENV=.venv-transports GROUP=transports .venv-transports/stamps/installed
	@$(CLEAN) TEST_FORKS=0 .venv-transports/bin/python -m pytest tests/suite_transports $(PYTEST_ARGS)

suite-distributions: $(STAMPS)/installed ## programs set up by Logfire, Sentry, Datadog, and configuration files, each three times (5 minutes)
	@for name in $(DISTRIBUTIONS); do folder=$(VENV)/distributions/$$name; test -e $$folder/.installed || { \
	  echo "installing $$name into $$folder"; \
	  $(BIN)/python -m pip install --quiet --upgrade --target $$folder --group distribution-$$name 2>/dev/null && touch $$folder/.installed; } || exit; done
	@$(CLEAN) TEST_FORKS=0 DISTRIBUTIONS=$(VENV)/distributions $(BIN)/python -m pytest tests/suite_distributions $(PYTEST_ARGS)

suite-clients: ## the clients' own tests: traced only, recorded, replayed (an hour; in .venv-clients; CLIENTS="httpx …" for some)
	@$(MAKE) --no-print-directory VENV=.venv-clients GROUP=clients .venv-clients/stamps/installed
	@$(CLEAN) .venv-clients/bin/python tests/suite_clients/run.py $(CLIENTS) $(if $(CLIENTS),,--write docs/client-suites.md)

suite-urllib3: ## urllib3's own tests, as suite-clients (20 minutes; in .venv-urllib3)
	@$(MAKE) --no-print-directory VENV=.venv-urllib3 GROUP=urllib3-suite .venv-urllib3/stamps/installed
	@$(CLEAN) .venv-urllib3/bin/python tests/suite_clients/run.py urllib3 --write docs/urllib3-suite.md

suite-httpclient: ## Python's own tests of http.client and urllib, as suite-clients (3 minutes; in .venv-urllib3)
	@$(MAKE) --no-print-directory VENV=.venv-urllib3 GROUP=urllib3-suite .venv-urllib3/stamps/installed
	@$(CLEAN) .venv-urllib3/bin/python tests/suite_clients/run.py http.client --write docs/http-client-suite.md

suite-drivers: ## the own tests of drivers of databases, as suite-clients (half an hour; psycopg's with PSYCOPG=its checkout)
	@$(MAKE) --no-print-directory VENV=.venv-clients GROUP=clients .venv-clients/stamps/installed
	@$(CLEAN) .venv-clients/bin/python tests/suite_clients/run.py --drivers $(if $(PSYCOPG),--source psycopg=$(PSYCOPG)) --write docs/driver-suites.md

suite-django: $(STAMPS)/installed ## Django's own tests of its ORM: bare, recorded, replayed with no database (10 minutes)
	@$(CLEAN) $(BIN)/python tests/suite_django/run.py --write docs/django-suite.md

suite-stores: $(STAMPS)/installed ## cassettes shipped to S3 by 8 workers that are killed, and a shipper killed at each of its steps (5 minutes)
	@$(CLEAN) STORES_FULL=1 $(BIN)/python -m pytest tests/stores $(PYTEST_ARGS)

suite-tooling: $(STAMPS)/installed ## the demo and the benchmark do what they say (5 minutes)
	@$(CLEAN) $(BIN)/python -m pytest tests/suite_tooling $(PYTEST_ARGS)

suite-processes: $(STAMPS)/installed ## every program that tests start is a Python of its own, not a fork (10 minutes)
	@$(CLEAN) TEST_FORKS=0 $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope \
	  tests/process tests/pytest_plugin tests/cli tests/verify tests/seams tests/docs \
	  tests/contract/test_sqlalchemy_behaviour.py $(PYTEST_ARGS)

fuzz: fuzz-cassettes ## all that `make test` tries a sample of: property tests, sweeps, interleavings (hours)
	@$(CLEAN) HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest -m 'hypothesis or sweep' --timeout 7200 $(PYTEST_ARGS)

fuzz-cassettes: $(STAMPS)/installed .venv-fuzz/stamps/fuzz ## hostile cassettes, guided by coverage, for FUZZ_SECONDS=3600
	@mkdir -p build/fuzz/corpus
	@$(CLEAN) .venv-fuzz/bin/python -m pip install --quiet --no-deps --force-reinstall $(VENV)/wheels/*.whl
	@$(CLEAN) nice .venv-fuzz/bin/python -m tests.fuzz.cassettes build/fuzz/corpus tests/fuzz/corpus \
	  -max_total_time=$(FUZZ_SECONDS) -max_len=1024 -entropic_scale_per_exec_time=1 -timeout=100 -rss_limit_mb=1024 -artifact_prefix=build/fuzz/ -verbosity=0 -print_final_stats=1

test-whole: ## as `make test`, and each case over every driver, client, server and framework that has it
	@TEST_WHOLE=1 $(MAKE) --no-print-directory test

test-oldest: ## every test with the lowest versions that pyproject.toml allows (in .venv-oldest)
	@$(MAKE) --no-print-directory VENV=.venv-oldest CONSTRAINTS=tests/oldest.txt .venv-oldest/stamps/installed
	@$(CLEAN) TEST_WHOLE=1 .venv-oldest/bin/python -m pytest -n $(WORKERS) --dist loadscope $(PYTEST_ARGS)

test-newest: ## the contract tests with the newest pre-releases of the clients and of OpenTelemetry (in .venv-newest)
	@$(MAKE) --no-print-directory VENV=.venv-newest GROUP=test .venv-newest/stamps/installed
	@# Asked each time: a release of this morning is what the target is for.
	@.venv-newest/bin/python -m pip install --quiet --pre --upgrade --requirement tests/newest.txt
	@.venv-newest/bin/python -m pip freeze --requirement tests/newest.txt | sed '/added by pip freeze/,$$d; /^#/d' | tr '\n' ' '; echo
	@$(CLEAN) TEST_WHOLE=1 .venv-newest/bin/python -m pytest -n $(WORKERS) --dist loadscope tests/contract tests/seams $(PYTEST_ARGS)

docs: .venv-docs/stamps/docs ## build the documentation site into build/docs; a warning is an error
	@$(CLEAN) NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build
	@echo "open build/docs/index.html"

dist: $(STAMPS)/tools ## build what a release publishes into dist/, and try its wheel in an environment of its own
	@for folder in dist build/again; do rm -rf $$folder; \
	  for project in . $(EXPORTERS); do (cd $$project && $(CURDIR)/$(BIN)/python -m hatchling build -d $(CURDIR)/$$folder) || exit; done; done
	@diff --recursive dist build/again && echo "two builds are the same, byte for byte"
	@$(MAKE) --no-print-directory VENV=.venv-dist .venv-dist/stamps/python-$(PYTHON_FOUND)
	@.venv-dist/bin/python -m pip install --quiet --force-reinstall $(foreach wheel,timetracer_otel $(subst -,_,$(notdir $(EXPORTERS))),dist/$(wheel)-[0-9]*.whl)
	@# Once more by name, so that the bill of materials does not say from which folder of this machine they came.
	@.venv-dist/bin/python -m pip install --quiet --force-reinstall --no-deps --no-index --find-links dist timetracer-otel $(notdir $(EXPORTERS))
	@$(CLEAN) .venv-dist/bin/timetracer-otel --version
	@$(CLEAN) .venv-dist/bin/timetracer-otel export --help >/dev/null
	@mkdir -p build/sbom && $(BIN)/cyclonedx-py environment --output-reproducible --mc-type library --pyproject pyproject.toml \
	  --output-file build/sbom/timetracer-otel.cdx.json .venv-dist/bin/python && echo "build/sbom/timetracer-otel.cdx.json: what the wheel brings along"

install: $(STAMPS)/installed ## only set .venv up

clean: ## remove everything that was made here
	rm -rf .venv .venv-oldest .venv-newest .venv-bench .venv-docs .venv-dist .venv-fuzz .venv-transports .venv-clients .venv-urllib3 .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment of another Python is made anew. Where the Python has no ensurepip (Debian's, without
# python3-venv), its own pip fills the environment.
$(CREATED):
	@if [ -z "$(PYTHON_FOUND)" ]; then echo "No Python found as '$(PYTHON)'. Name one: make … PYTHON=/path/to/python3" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) is Python $(PYTHON_FOUND); 3.10 or newer is needed. Name one: make … PYTHON=/path/to/python3.12" >&2; exit 1; }
	@echo "setting up $(VENV) with Python $(PYTHON_FOUND)"
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv --clear $(VENV); else \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(VENV)/bin/python install --quiet pip; fi
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@mkdir -p $(STAMPS) && touch $@

# Dependencies: ours with every extra, those of the exporters, and the groups of pyproject.toml.
$(STAMPS)/tools: $(CREATED) $(PROJECTS) $(CONSTRAINTS)
	@echo "installing what the project and its tests need into $(VENV) (a minute or two where pip has nothing in its cache)"
	@$(BIN)/python -m pip install --quiet $(addprefix --constraint ,$(CONSTRAINTS)) --group build
	@$(BIN)/python -m pip install $(addprefix --constraint ,$(CONSTRAINTS)) \
	  --group $(GROUP) $(if $(MYSQL_CONFIG),--group mysqlclient) '.[all]' $(addprefix ./,$(EXPORTERS)) | $(DOTS)
	@$(BIN)/python -m pip install --quiet --no-deps $(addprefix --constraint ,$(CONSTRAINTS)) --group arq
	@$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/beside --group beside
	@touch $@

# The project itself, as wheels: what is tested is what a user would install.
$(STAMPS)/installed: $(STAMPS)/tools $(SOURCES) README.md
	@echo "building the project's wheels, and installing them into $(VENV)"
	@rm -rf $(VENV)/wheels && mkdir -p $(VENV)/wheels
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(VENV)/wheels . $(addprefix ./,$(EXPORTERS))
	@$(BIN)/python -m pip install --quiet --no-deps --force-reinstall $(VENV)/wheels/*.whl
	@touch $@

.venv-docs/stamps/docs: pyproject.toml
	@$(MAKE) --no-print-directory VENV=.venv-docs .venv-docs/stamps/python-$(PYTHON_FOUND)
	@echo "installing what builds the documentation into .venv-docs"
	@.venv-docs/bin/python -m pip install --quiet --group docs
	@touch $@

.venv-fuzz/stamps/fuzz: $(PROJECTS)
	@$(MAKE) --no-print-directory VENV=.venv-fuzz .venv-fuzz/stamps/python-$(PYTHON_FOUND)
	@echo "installing what fuzzes into .venv-fuzz"
	@.venv-fuzz/bin/python -m pip install --quiet --group fuzz '.[all]' $(addprefix ./,$(EXPORTERS))
	@touch $@

.venv-bench/stamps/peers: benchmarks/peers.txt
	@$(MAKE) --no-print-directory VENV=.venv-bench .venv-bench/stamps/python-$(PYTHON_FOUND)
	@echo "installing the packages to compare with into .venv-bench"
	@.venv-bench/bin/python -m pip install --quiet --requirement benchmarks/peers.txt
	@touch $@
