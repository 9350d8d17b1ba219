# Each target sets up .venv by itself when pyproject.toml or constraints.txt changed; else it is quick.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
RESULTS := results
export MLFLOW_DISABLE_TELEMETRY := 1
export RAY_USAGE_STATS_ENABLED := 0
# Tests of several processes share few cores: two threads in each would be many times slower.
check test faults soak: export OMP_NUM_THREADS := 1

.PHONY: setup demo test faults soak lint check bench-overhead clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

# A real ablation, a real sweep and a cell on two workers, on real CIFAR-10; then table and figure.
demo: $(STAMP)
	$(BIN)/simclr-lab data fetch cifar10
	$(BIN)/simclr-lab run search_spaces/ablations/demo_temperature.toml --scale demo
	$(BIN)/simclr-lab run search_spaces/sweeps/demo.toml --scale demo
	$(BIN)/simclr-lab run search_spaces/ablations/demo_two_workers.toml --scale demo --workers 2
	$(BIN)/python -m analysis table_5_temperature --scale demo --study demo_temperature --out $(RESULTS)
	$(BIN)/python -m analysis table_sweep --scale demo --study demo --out $(RESULTS)
	$(BIN)/simclr-lab where --out $(RESULTS)

# Format, lint, types and layers.
lint: $(STAMP)
	$(BIN)/ruff format --check platform analysis tests benchmarks
	$(BIN)/ruff check platform analysis tests benchmarks
	$(BIN)/mypy platform/simclr_lab analysis benchmarks
	$(BIN)/lint-imports --no-logo

# The same and the fast tests: before every commit.
check: lint
	$(BIN)/pytest -q -m "not slow and not ray"

# Every test but the faults.
test: $(STAMP)
	$(BIN)/pytest -q -m "not faults"

# Kill and break what a study runs on, each fault once.
faults: $(STAMP)
	$(BIN)/pytest -q tests/faults

# Random faults for half an hour, with a fixed seed: make soak SOAK="--faults 300 --seed 7"
SOAK := --faults 100 --seed 0
soak: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m faults.soak $(SOAK)

# What the platform itself costs, on a quiet machine: about a quarter of an hour.
bench-overhead: $(STAMP)
	$(BIN)/simclr-lab data fetch cifar10
	$(BIN)/python -m benchmarks.noop_study
	$(BIN)/python -m benchmarks.busy_share

clean:
	rm -rf $(VENV) $(RESULTS) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
