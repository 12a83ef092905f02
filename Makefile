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
OBJECTIVES := soft-targets,decoupled,hidden-states,hidden-states-skip,hidden-states-learned,relations
OTHERS := attention-maps,minilm-first,copied,skip-layers,last-layers,from-l3,train-embeddings
TEXTS := no-transfer,augment-0,augment-2,online,dropout,hard-labels,two-teachers

bench-distill: setup  ## measure the distillation figures, in pieces of less than an hour; some hours
	$(DISTILLATION).students --fold 0 --out $(STUDENTS)/fold-0.json
	$(DISTILLATION).students --fold 1 --out $(STUDENTS)/fold-1.json
	$(DISTILLATION).students --fold 2 --out $(STUDENTS)/fold-2.json
	$(DISTILLATION).speed --fold 0 --out $(STUDENTS)/speed.json
	$(DISTILLATION).budget --out $(STUDENTS)/budget.json
	$(DISTILLATION).ablation --fold 0 --variants $(OBJECTIVES) --out $(STUDENTS)/ablation.json
	$(DISTILLATION).ablation --fold 0 --variants $(OTHERS) --out $(STUDENTS)/ablation.json
	$(DISTILLATION).ablation --fold 0 --variants $(TEXTS) --out $(STUDENTS)/ablation.json
	$(DISTILLATION).targets $(STUDENTS) --out $(STUDENTS).json --page docs/distill.md

CUT := benchmarks/results/prune
PRUNING := $(BIN)/python -m lilliput.benchmarks.pruning

bench-prune: setup  ## measure the pruning figures, in pieces of less than an hour; some hours
	$(PRUNING).models --fold 0 --out $(CUT)/fold-0.json
	$(PRUNING).models --fold 1 --out $(CUT)/fold-1.json
	$(PRUNING).models --fold 2 --out $(CUT)/fold-2.json
	$(PRUNING).post_training --fold 0 --out $(CUT)/post-training.json
	$(PRUNING).speed --fold 0 --out $(CUT)/speed.json
	$(PRUNING).promises --fold 0 --out $(CUT)/promises.json
	$(PRUNING).bert_base --out $(CUT)/bert-base.json
	$(PRUNING).targets $(CUT) --out $(CUT).json --page docs/prune.md

QUANTIZED := benchmarks/results/quantize

bench-quantize: setup  ## measure what int8 costs, on the teachers of the other measurements; half an hour a fold
	for fold in 0 1 2; do \
		$(BIN)/lilliput export --model runs/teachers/r-drop-$$fold/teacher --seed $$fold --out runs/quantize/bundles-$$fold/teacher \
		&& $(BIN)/python -m lilliput.benchmarks.quantization.models runs/quantize/bundles-$$fold/teacher \
			--fold $$fold --out $(QUANTIZED)/fold-$$fold.json || exit; \
	done
	$(BIN)/python -m lilliput.benchmarks.quantization.training runs/quantize/bundles-0/teacher --fold 0 --out $(QUANTIZED)/training.json
	$(BIN)/python -m lilliput.benchmarks.quantization.batching runs/quantize/fold-0/teacher/bundle --out $(QUANTIZED)/batching.json
	$(BIN)/python -m lilliput.benchmarks.quantization.targets $(QUANTIZED) --out $(QUANTIZED).json --page docs/quantize.md

SERVED := benchmarks/results/export

bench-serve: setup  ## measure runtime, server and other loaders on a bundle of the demo; half an hour
	$(BIN)/python -m lilliput.benchmarks.serving.runtime runs/demo/bundles/student-l2 --out $(SERVED)/runtime.json
	$(BIN)/python -m lilliput.benchmarks.serving.overload runs/demo/bundles/student-l2 --out $(SERVED)/overload.json
	$(BIN)/python -m lilliput.benchmarks.serving.parity runs/demo/bundles/* --fold 0 --out $(SERVED)/parity.json
	$(BIN)/python -m lilliput.benchmarks.hostile.measure --out $(SERVED)/hostile.json
	$(BIN)/python -m lilliput.benchmarks.loaders.measure --bundle runs/demo/bundles/student-l2 --out $(SERVED)/loaders.json --page docs/export.md
	$(BIN)/python -m lilliput.benchmarks.serving.targets $(SERVED)/*.json --out $(SERVED).json --page docs/serve.md

bench-gpu: setup  ## the demo's bundles on CUDA and TensorRT; says so where there is no GPU
	$(BIN)/python -m lilliput.benchmarks.gpu runs/demo/bundles/teacher runs/demo/bundles/student-l2 --out runs/gpu.json

RESULTS := benchmarks/results
FRONTIER := $(BIN)/python -m lilliput.benchmarks.frontier

frontier: setup  ## everything Lilliput makes on one chart, in pieces of less than an hour; some hours, once
	for fold in 0 1 2; do \
		for names in x3 x4 x8,x16 small,tiny,small-int4; do \
			$(PRUNING).models --fold $$fold --only $$names --out $(CUT)/fold-$$fold.json || exit; \
		done; \
		for names in l3 l2 l1 seq,static; do \
			$(DISTILLATION).students --fold $$fold --only $$names --out $(STUDENTS)/fold-$$fold.json || exit; \
		done; \
		$(FRONTIER).speed --fold $$fold --out $(RESULTS)/frontier/speed-$$fold.json || exit; \
	done
	$(FRONTIER).search --fold 0 --out $(RESULTS)/frontier/search.json
	$(FRONTIER).unlike --out $(RESULTS)/frontier/unlike.json
	$(FRONTIER).spread runs/prune/fold-0/x8-bundle/bundle --out $(RESULTS)/frontier/spread.json
	$(FRONTIER).targets $(RESULTS) --out $(RESULTS)/frontier.json --page docs/frontier.md --readme README.md

PEERS := $(BIN)/python -m lilliput.benchmarks.peers.measure

peers: setup  ## what users would pick instead, each in an environment of its own, in turns with ours; an hour
	for fold in 0 1 2; do \
		$(PEERS) --fold $$fold --ours x4=runs/prune/fold-$$fold/x4-bundle/bundle --ours x8=runs/prune/fold-$$fold/x8-bundle/bundle \
			--out $(RESULTS)/peers/fold-$$fold.json || exit; \
	done
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
