# FedLoom: `make demo` shows it, `make test` tests it; both make the environment first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
INSTALL := apt-get install --quiet --yes --no-install-recommends

.PHONY: nginx demo demo-full medmcqa test test-slow fuzz proto lint types imports check env clean
.PHONY: benchmark benchmark-grid benchmark-peak benchmark-steps benchmark-site-round benchmark-relay
.PHONY: benchmark-deployed benchmark-evaluation faults

env: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/fedloom demo

demo-full: $(READY)
	$(BIN)/fedloom demo --full

# A causal language model on exam questions; 40 minutes on two cores (examples/medmcqa/README.md).
medmcqa: $(READY)
	$(BIN)/fedloom fetch medmcqa --into examples/medmcqa
	$(BIN)/fedloom simulate examples/medmcqa/federation.toml --compare non-private

# One thread a worker: tiny models gain nothing from more, and workers do.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' \
	  --numprocesses logical --maxprocesses 8 --dist worksteal

# What a server needs beside Python; the deployment's tests need it too.
nginx:
	@PATH="$$PATH:/usr/sbin" command -v nginx > /dev/null || $(INSTALL) nginx-light || \
	  { apt-get update --quiet && $(INSTALL) nginx-light; }

# Minutes long: the demo cut short on real records, and real processes killed; one at a time, since
# deadlines that pass are part of what is tested.
test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --timeout 1200

# The socket of a site's service and its ledger's file, with 10,000 cases of anything each.
fuzz: $(READY)
	FEDLOOM_FUZZ=10000 $(BIN)/python -m pytest tests/property/test_fuzz_site.py --timeout 3600

# The generated code is in the repository: only who changes site.proto needs this.
proto: $(READY)
	$(BIN)/python -m grpc_tools.protoc -I client --python_out=client --pyi_out=client \
	  --grpc_python_out=client client/fedloom/client/rpc/site.proto

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

check: lint types imports

# The short ones; what each measures: docs/performance.md.
benchmark: benchmark-grid benchmark-peak

benchmark-grid: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/grid.py

benchmark-peak: $(READY)
	$(BIN)/python -m benchmarks.peak

# A quarter of an hour on two quiet cores.
benchmark-steps: $(READY)
	$(BIN)/python -m benchmarks.steps

benchmark-site-round: $(READY)
	$(BIN)/python -m benchmarks.site_round

benchmark-relay: $(READY)
	$(BIN)/python -m benchmarks.relay

benchmark-evaluation: $(READY)
	$(BIN)/python -m benchmarks.evaluation

# Whole deployments on loopback; half an hour on two busy cores.
benchmark-deployed: $(READY) nginx
	$(BIN)/python -m benchmarks.deployed

# Faults in a whole deployment, one network namespace for each institution: as root, 40 minutes.
faults: $(READY)
	$(BIN)/python -m benchmarks.faults

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
