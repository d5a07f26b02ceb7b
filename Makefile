# `make` alone lists the targets.  Each one sets up what it needs first; that is quick when nothing is missing.

.DEFAULT_GOAL := help
.PHONY: help run test fast lint check fuzz bench lab lab-down drill geography clean

BIN := .venv/bin
PURE := tests/test_rooms.py tests/test_units.py tests/model tests/config tests/geo tests/decide tests/nameserver
C := $(wildcard xdp/c/*.[ch] tests/xdp/*.c tests/xdp/planes/*.c tests/fuzz/*.c bench/*.c)
FUZZ_PACKETS ?= 1000000
FUZZ_RUNS ?= 1000000

# Debian keeps servers and `ip` outside an ordinary user's PATH.
export PATH := $(PATH):/usr/sbin:/sbin

help:
	@echo 'make run        serve the example on 127.0.0.1:5300'
	@echo 'make test       run every test (as root also those in network namespaces); ARGS="-k NAME" selects'
	@echo 'make fast       run the tests of the pure rooms'
	@echo 'make lint       ruff check, ruff format --check, mypy, clang-format, generated files'
	@echo 'make check      lint and test'
	@echo 'make fuzz       a million packets against the live server and through the XDP programs (root), the executors in C against the reference,'
	@echo '                and the coverage-guided fuzzer'
	@echo 'make bench      measure beside gdnsd, Knot, NSD and PowerDNS (root)'
	@echo 'make lab        three sites, their routers and clients in containers (Docker); make lab-down takes all of it away'
	@echo 'make drill      a bad day after the other in the lab, in network namespaces (root); ARGS="NAME ..." selects; result in build/drills'
	@echo 'make geography  fetch the newest DB-IP city databases'
	@echo 'make clean      remove what was made here, but not the databases (~/.cache/gslb)'

run:
	@setup/packages.sh run
	@setup/environment.sh run
	@setup/geography.sh
	@$(BIN)/python -m xdp.build >/dev/null || echo 'setup: going on without XDP' >&2
	@mkdir -p build && [ -s build/token ] || (umask 077 && $(BIN)/python -c 'import secrets; print(secrets.token_urlsafe())' > build/token)
	@exec $(BIN)/gslb run --config gslb.yaml --node fra --state build/state

# What a whole node, a budget or a bad day is shown with runs with nothing beside it; all else takes all cores.
test: | ready-to-test
ifeq ($(strip $(ARGS)),)
	@failed=0; \
	$(BIN)/pytest -n auto --dist loadfile -m 'not alone' || failed=1; \
	$(BIN)/pytest -m alone || failed=1; \
	exit $$failed
else
	$(BIN)/pytest $(ARGS)
endif

fast: | ready-to-develop
	$(BIN)/pytest -q -m 'not slow and not geodb and not root' $(PURE) $(ARGS)

lint: | ready-to-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	clang-format --dry-run -Werror $(C)
	$(BIN)/python -m xdp.build >/dev/null
	$(BIN)/python -m xdp.gen_layout --check

check: lint test

fuzz: | ready-to-test
	$(BIN)/python -m tests.fuzz.live $(FUZZ_PACKETS)
	$(BIN)/python -m tests.fuzz.xdp $(FUZZ_PACKETS)
	$(BIN)/python -m tests.fuzz.differential $(FUZZ_RUNS)
	$(BIN)/python -m tests.fuzz.fuzz_answer -runs=$(FUZZ_RUNS)

bench:
	@setup/packages.sh bench
	@setup/environment.sh dev
	@setup/geography.sh
	@$(BIN)/python -m xdp.build
	$(BIN)/python -m bench $(ARGS)

lab:
	@setup/lab.sh up

lab-down:
	@setup/lab.sh down

drill: | ready-to-test
	$(BIN)/python -m compose.drills $(ARGS)

geography:
	@setup/packages.sh run
	@setup/geography.sh --newest

clean:
	rm -rf .venv build dist bench/results xdp/objects *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: ready-to-develop ready-to-lint ready-to-test
ready-to-develop:
	@setup/packages.sh run
	@setup/environment.sh dev

ready-to-lint:
	@setup/packages.sh lint
	@setup/environment.sh dev

ready-to-test:
	@setup/packages.sh test
	@setup/environment.sh dev
	@setup/geography.sh
	@$(BIN)/python -m xdp.build >/dev/null
