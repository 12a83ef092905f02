# What a newcomer needs: `make demo` and `make test`. Both set everything up first.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CACHED := $(VENV)/.cached
TORCH := 2.13.0
TORCH_INDEX := https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip --disable-pip-version-check
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check links bench bench-train bench-distill bench-prune bench-quantize bench-serve bench-gpu frontier peers bench-vader clean

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

setup: $(READY) $(CACHED)  ## make .venv, install everything, fetch the embedded model and data

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old, Python 3.11 or newer is needed: make setup PYTHON=/path/to/python3.11"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

# The CPU build of torch is a fifth of the size of the CUDA build that the package index gives Linux.
$(READY): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --retries 0 --extra-index-url $(TORCH_INDEX) "torch==$(TORCH)+cpu" \
		|| $(PIP) install "torch==$(TORCH)"
	$(PIP) install --quiet -c constraints.txt -e ".[cpu,toolkit,serve,sign,dev]"
	@touch $@

$(CACHED): $(READY) train/embedded.py
	$(BIN)/lilliput data fetch
	@touch $@

demo: setup  ## the whole job on the embedded default; FAST=1 for the smoke run
	$(BIN)/lilliput demo --out runs/$(if $(FAST),demo-fast --fast,demo)

test: setup  ## the tests; no network is needed after set-up
	OMP_NUM_THREADS=1 $(OFFLINE) $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

check: $(READY) links  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd .links && ../$(BIN)/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache -p lilliput

# Type checkers do not see the editable mapping of train/ to lilliput.train: show them a tree where it is real.
links:  ## .links/lilliput, a tree of symbolic links for type checkers and editors
	@rm -rf .links && mkdir -p .links/lilliput
	@ln -s $(addprefix ../../,$(filter-out %__pycache__,$(wildcard lilliput/*))) .links/lilliput/
	@ln -s ../../train ../../export ../../compress ../../benchmarks .links/lilliput/

bench: setup  ## measure the demo and write the figures and its page's table
	$(BIN)/lilliput demo --out runs/demo --results benchmarks/results/demo.json
	$(BIN)/python -m lilliput.benchmarks.readme benchmarks/results/demo.json docs/demo.md

PIECES := benchmarks/results/train
TRAINING := $(BIN)/python -m lilliput.benchmarks.training

bench-train: setup  ## measure the training figures, in pieces of less than an hour; about two hours
	$(TRAINING).teachers --out $(PIECES)/teachers.json
	$(TRAINING).teachers --folds 0 --variants base,layer-decay,adapted --out $(PIECES)/teachers-screened.json
	$(TRAINING).language_models --out $(PIECES)/language_models.json
	$(TRAINING).speed --out $(PIECES)/speed.json
	$(TRAINING).resume --out $(PIECES)/resume.json
	$(TRAINING).faults --out $(PIECES)/faults.json
	$(TRAINING).generated ner --out $(PIECES)/ner.json
	$(TRAINING).generated qa --out $(PIECES)/qa.json
	$(TRAINING).generated relation --out $(PIECES)/relation.json
	$(TRAINING).targets $(PIECES)/*.json --out $(PIECES).json --page docs/train.md

STUDENTS := benchmarks/results/distill
DISTILLATION := $(BIN)/python -m lilliput.benchmarks.distillation
ABLATION := $(DISTILLATION).ablation --fold 2 --epochs 1 --out $(STUDENTS)/ablation.json

bench-distill: setup  ## measure the distillation figures, in pieces of less than an hour; some hours
	$(DISTILLATION).students --fold 0 --out $(STUDENTS)/fold-0.json
	$(DISTILLATION).students --fold 1 --out $(STUDENTS)/fold-1.json
	$(DISTILLATION).students --fold 2 --out $(STUDENTS)/fold-2.json
	$(DISTILLATION).speed --fold 2 --rounds 20 --out $(STUDENTS)/speed.json
	$(DISTILLATION).budget --fold 1 --out $(STUDENTS)/budget.json
	$(ABLATION) --variants soft-targets,hidden-states,hard-labels
	$(ABLATION) --variants copied,from-l3,train-embeddings
	$(ABLATION) --variants no-transfer,augment-0
	$(DISTILLATION).targets $(STUDENTS) --out $(STUDENTS).json --page docs/distill.md

CUT := benchmarks/results/prune
PRUNING := $(BIN)/python -m lilliput.benchmarks.pruning

bench-prune: setup  ## measure the pruning figures, in pieces of less than an hour; some hours
	$(PRUNING).models --fold 0 --out $(CUT)/fold-0.json
	$(PRUNING).models --fold 1 --out $(CUT)/fold-1.json
	$(PRUNING).models --fold 2 --out $(CUT)/fold-2.json
	$(PRUNING).post_training --fold 2 --out $(CUT)/post-training.json
	$(PRUNING).speed --fold 2 --only x4,x8,small,layer-drop,as-layer-drop,torch-pruning --rounds 20 --out $(CUT)/speed.json
	$(PRUNING).promises --fold 2 --out $(CUT)/promises.json
	$(PRUNING).bert_base --out $(CUT)/bert-base.json
	$(PRUNING).targets $(CUT) --out $(CUT).json --page docs/prune.md

QUANTIZED := benchmarks/results/quantize
QUANTIZATION := $(BIN)/python -m lilliput.benchmarks.quantization
SHIPPED := runs/quantize/bundles-2
STATIC := runs/quantize/fold-2

bench-quantize: setup  ## measure what int8 costs, on models that the frontier made of fold 2
	$(BIN)/lilliput export --model runs/teachers/r-drop-2/teacher --seed 2 --out $(SHIPPED)/teacher
	for name in x4 x16; do \
		mkdir -p $(SHIPPED)/$$name && cp -R runs/prune/fold-2/$$name-bundle/bundle/. $(SHIPPED)/$$name || exit; \
	done
	$(QUANTIZATION).models $(SHIPPED)/teacher $(SHIPPED)/x4 --fold 2 --out $(QUANTIZED)/fold-2.json
	$(QUANTIZATION).training $(SHIPPED)/x16 --fold 2 --out $(QUANTIZED)/training.json
	$(QUANTIZATION).batching $(STATIC)/teacher/bundle $(STATIC)/x4/bundle --fold 2 --out $(QUANTIZED)/batching.json
	$(QUANTIZATION).openvino $(STATIC)/teacher/bundle --fold 2 --timed 350 --rounds 20 --out $(QUANTIZED)/openvino.json
	$(QUANTIZATION).targets $(QUANTIZED) --out $(QUANTIZED).json --page docs/quantize.md

SERVED := benchmarks/results/export
STUDENT := runs/distill/fold-2/l2-bundle/bundle
EXPORTED := $(SHIPPED)/teacher $(foreach name,l3 l2 l1 seq static,runs/distill/fold-2/$(name)-bundle/bundle) \
	$(foreach name,x4 x8 x16,runs/prune/fold-2/$(name)-bundle/bundle)

bench-serve: setup  ## measure runtime, server and other loaders, on bundles of frontier and bench-quantize; half an hour
	$(BIN)/python -m lilliput.benchmarks.serving.runtime $(STUDENT) --out $(SERVED)/runtime.json
	$(BIN)/python -m lilliput.benchmarks.serving.overload $(SHIPPED)/teacher --out $(SERVED)/overload.json
	$(BIN)/python -m lilliput.benchmarks.serving.parity $(EXPORTED) --fold 2 --out $(SERVED)/parity.json
	$(BIN)/python -m lilliput.benchmarks.hostile.measure --out $(SERVED)/hostile.json
	$(BIN)/python -m lilliput.benchmarks.loaders.measure --bundle $(STUDENT) --out $(SERVED)/loaders.json --page docs/export.md
	$(BIN)/python -m lilliput.benchmarks.serving.targets $(SERVED)/*.json --out $(SERVED).json --page docs/serve.md

bench-gpu: setup  ## the demo's bundles on CUDA and TensorRT; says so where there is no GPU
	$(BIN)/python -m lilliput.benchmarks.gpu runs/demo/bundles/teacher runs/demo/bundles/student-l2 --out runs/gpu.json

RESULTS := benchmarks/results
FRONTIER := $(BIN)/python -m lilliput.benchmarks.frontier
TIMED := x3,x4,x8,x16,small,small-int4,l3,l2,l1,seq,static

frontier: setup  ## everything Lilliput makes on one chart, in pieces of less than an hour; some hours, once
	for fold in 0 1 2; do \
		for names in x3 x4 x8,x16 small,tiny,small-int4; do \
			$(PRUNING).models --fold $$fold --only $$names --out $(CUT)/fold-$$fold.json || exit; \
		done; \
		for names in l3 l2 l1 seq,static; do \
			$(DISTILLATION).students --fold $$fold --only $$names --out $(STUDENTS)/fold-$$fold.json || exit; \
		done; \
		$(FRONTIER).speed --fold $$fold --only $(TIMED) --rounds 20 --out $(RESULTS)/frontier/speed-$$fold.json || exit; \
	done
	$(FRONTIER).search --fold 1 --out $(RESULTS)/frontier/search.json
	$(FRONTIER).unlike --minutes 42 --out $(RESULTS)/frontier/unlike.json
	$(FRONTIER).spread runs/prune/fold-2/x8-bundle/bundle --out $(RESULTS)/frontier/spread.json
	$(FRONTIER).targets $(RESULTS) --out $(RESULTS)/frontier.json --page docs/frontier.md --readme README.md

PEERS := $(BIN)/python -m lilliput.benchmarks.peers.measure

peers: setup  ## what users would pick instead, each in an environment of its own, in turns with models of the frontier; an hour
	$(PEERS) --fold 2 --ours x4=runs/prune/fold-2/x4-bundle/bundle:int8 --ours x8=runs/prune/fold-2/x8-bundle/bundle:int8 \
		--limit 1000 --timed 300 --out $(RESULTS)/peers/fold-2.json
	$(PEERS).targets $(RESULTS)/peers --out $(RESULTS)/peers.json --page docs/benchmark.md

VADER := $(BIN)/python -m lilliput.benchmarks.vader

bench-vader: setup  ## the table of the VADER paper, with teachers and students of each domain; some hours
	$(VADER).reproduce --out $(RESULTS)/vader/reproduce.json
	for domain in tweets movies products editorials; do \
		$(VADER).trained --domain $$domain --out $(RESULTS)/vader/$$domain.json || exit; \
	done
	$(VADER).targets $(RESULTS)/vader --out $(RESULTS)/vader.json --page docs/benchmark.md

clean:  ## remove what set-up and the tools made; runs/ and the download cache stay
	rm -rf $(VENV) .links .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
