PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PARTS  := hdl gen sim boards models

.DELETE_ON_ERROR:

.PHONY: help
help:
	@echo "make demo       the bundled network: ONNX -> Verilog -> simulated bit-exact -> resource report"
	@echo "make mobilenet  the standard MobileNetV2, random weights or MODEL=... INPUTS=...: the same for one frame"
	@echo "make test       lint, types and the tests"
	@echo "make test-full  the same, hundreds of random networks and the real ones of ../shared"
	@echo "make random     COUNT=... random networks with random options that no other run has drawn, or from SEED=..."
	@echo "make bench      the standard MobileNetV2 of ../shared: simulated, and through yosys"
	@echo "make proofs     every block and kind of layer proved to keep the rules of streams"
	@echo "make torchvision  TORCH=... a Python with torch: networks of torchvision exported, quantised, checked and built"
	@echo "make calibrate  fit the resource estimate to yosys, some ten minutes for each family"
	@echo "make clean      remove what the targets made"

$(VENV)/stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

build/ns: Makefile
	mkdir -p $@/headrace
	for part in $(PARTS); do ln -sfn ../../../$$part $@/headrace/$$part; done
	touch $@

# The bundled network: import, compare with ONNX Runtime, Verilog, simulate, synthesise.
DIGITS  := models/digits.onnx
IMAGES  := models/digits_test.npz
TARGETS := ecp5 ice40 xc7

.PHONY: demo
demo: $(VENV)/stamp
	$(BIN)/headrace info $(DIGITS)
	$(BIN)/headrace check $(DIGITS) --inputs $(IMAGES)
	$(BIN)/headrace build $(DIGITS) -o build/digits
	$(BIN)/headrace sim $(DIGITS) --inputs $(IMAGES)
	for target in $(TARGETS); do $(BIN)/headrace synth $(DIGITS) --target $$target || exit 1; done

# The standard MobileNetV2: Verilog, the plan with what UltraScale+ takes for it by estimate (lanes in pairs), one frame.
MODEL  := build/mobilenet_v2.onnx
INPUTS := build/mobilenet_v2.npz
CYCLES := 50176

.PHONY: mobilenet
mobilenet: $(VENV)/stamp $(MODEL) $(INPUTS)
	$(BIN)/headrace info $(MODEL)
	$(BIN)/headrace build $(MODEL) --cycles $(CYCLES) -o build/mobilenet
	$(BIN)/headrace plan $(MODEL) --cycles $(CYCLES) --target xcup
	$(BIN)/headrace sim $(MODEL) --cycles $(CYCLES) --inputs $(INPUTS) --frames 1

# A pattern, as one command makes both files.
build/mobilenet_v%.onnx build/mobilenet_v%.npz: | $(VENV)/stamp
	$(BIN)/headrace model mobilenet_v$* -o build/mobilenet_v$*.onnx --images build/mobilenet_v$*.npz

.PHONY: lint
lint: $(VENV)/stamp build/ns
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Yosys in WebAssembly is compiled when it runs first: once, and not by each worker.
.PHONY: yosys
yosys: $(VENV)/stamp
	$(BIN)/python -c 'from headrace.gen.netlist import yosys; print(yosys.version())'

.PHONY: test
test: lint yosys
	$(BIN)/pytest -n 2

.PHONY: test-full
test-full: lint yosys
	$(BIN)/pytest -n 2 -m "not bench"

# As the random networks of the suite, whose numbers are fixed.
SEED  := $(shell date +%s)
COUNT := 400
.PHONY: random
random: lint yosys
	$(BIN)/pytest -n 2 tests/sim/test_random_networks.py --random $(SEED) $(COUNT)

# One at a time: the machine is theirs.
.PHONY: bench
bench: $(VENV)/stamp
	$(BIN)/pytest -m bench -s --durations=0

# Of every configuration; `make test` proves a part of them.
.PHONY: proofs
proofs: yosys
	$(BIN)/python tests/prove.py

# Networks of torchvision with random weights, exported by a Python that has torch: `make torchvision TORCH=...`.
TORCH := python3
.PHONY: torchvision
torchvision: $(VENV)/stamp
	$(TORCH) tests/export_torchvision.py build/torchvision
	$(BIN)/python tests/torchvision_networks.py build/torchvision

# The coefficients of the resource estimate, gen/estimate/estimate.json: `make calibrate FAMILIES="ecp5 xc7"`.
FAMILIES := ecp5 ice40 xc7 xcup
.PHONY: calibrate
calibrate: $(VENV)/stamp
	$(BIN)/python tests/calibrate.py $(FAMILIES)

.PHONY: clean
clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
