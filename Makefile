# The commands of this repository. Everything is set up on first use, in .venv; no root, no compiler.
# Only the testbed needs root: it installs Debian's packages and makes namespaces.
.POSIX:
PYTHON ?= python3
BIN = .venv/bin
JOBS ?= 2
SEEDS ?= 1000
NODES ?= 3
OPENB ?= ../shared/traces/openb_gpu2023
ORDERS ?= ../shared/vectors/openb_orders

help:
	@echo "make demo     replay a trace on 5,000 nodes under several policies: table, plots and report in out/demo"
	@echo "make test     the tests          make lint   ruff, mypy, import-linter"
	@echo "make fuzz     1,000 random worlds with random faults; SEEDS=N for another number"
	@echo "make studies  published results, reproduced: docs/studies; OPENB=DIR says where the trace openb is"
	@echo "make testbed-up, make testbed-down    real engines as nodes on this machine, for the tests in tests/real; as root"
	@echo "make bench    the benchmarks     make clean  remove what the above made"
	@echo "make proto    the stubs of proto/, generated anew"

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv || { \
	  echo "Python's venv module is incomplete. On Debian: apt install python3-venv; or make PYTHON=/path/to/python3"; \
	  rm -rf .venv; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch .venv/installed

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch .venv/installed-dev

demo: .venv/installed
	$(BIN)/eru sim compare 'synthetic:google2019?nodes=5000&hours=4&seed=1&workloads=110000' \
	  --policy first-fit --policy best-fit --policy worst-fit --policy dot-product --policy random --out out/demo

test: .venv/installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

fuzz: .venv/installed
	$(BIN)/eru sim fuzz --seeds $(SEEDS) -j $(JOBS)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

testbed-up:
	$(PYTHON) -m testbed up --nodes $(NODES)

testbed-down:
	$(PYTHON) -m testbed down

bench: .venv/installed
	$(BIN)/python -m benchmarks.spine --json out/bench.json
	$(BIN)/python -m benchmarks.replays --json out/bench-replays.json $$(test -d $(OPENB) && echo --openb $(OPENB))
	$(BIN)/python -m benchmarks.plugins --json out/bench-plugins.json
	$(BIN)/python -m benchmarks.strategies --json out/bench-strategies.json
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[real,benchmarks]'
	$(BIN)/python -m benchmarks.live --json out/bench-live.json
	$(BIN)/python -m benchmarks.docker_overhead --json out/bench-docker.json

studies: .venv/installed
	$(BIN)/python -m eru_sim.studies.fgd $(OPENB) --orders $(ORDERS) --out out/studies/fgd -j $(JOBS)

proto:
	$(PYTHON) -m venv out/proto-venv
	out/proto-venv/bin/python -m pip install --quiet --disable-pip-version-check 'grpcio-tools>=1.81,<1.82'
	out/proto-venv/bin/python -m grpc_tools.protoc -I backends/real/service/pb=proto \
	  --python_out=. --pyi_out=. --grpc_python_out=. proto/*.proto
	rm -rf out/proto-venv

clean:
	rm -rf .venv out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help demo test fuzz lint testbed-up testbed-down bench studies proto clean
