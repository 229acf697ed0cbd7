# Everything that the README promises.  Each target builds .venv by itself; PYTHON chooses the interpreter.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.run-installed
DEV := $(VENV)/.dev-installed
# uv, where it is installed, is several times as fast; pip shows its progress
UV := $(shell command -v uv)
INSTALL := $(if $(UV),$(UV) pip install --python $(BIN)/python,$(BIN)/python -m pip install) -c constraints.txt
export HF_HUB_DISABLE_TELEMETRY = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: quickstart evidence world-report what-it-takes test test-fast format lint schema real-small faults mutants screenshot clean help

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUN): $(BIN)/python pyproject.toml constraints.txt
	@echo "installing into $(VENV): about 1.6 GB on the disk, some minutes, most of them torch's download"
	$(INSTALL) -e .
	@touch $(RUN)

$(DEV): $(RUN)
	$(INSTALL) -e '.[dev]'
	@touch $(DEV)

what-it-takes:
	@echo "make quickstart: first the install (about 1.6 GB on the disk), then every stage of the recipe:"
	@echo "  20 to 40 minutes on two idle CPU cores, an hour or more on a busy machine; about 1 GB of memory; no GPU, no network"
	@echo "  Ctrl-C stops after the step in hand and saves; the same command goes on from there"

quickstart: what-it-takes $(RUN)  ## the whole recipe on the embedded world, then its report
	$(BIN)/align run quickstart
	@echo
	@echo "Next (docs/first-hour.md walks through it):"
	@echo "  $(BIN)/align report runs/quickstart    # writes the page and says where it is"
	@echo "  $(BIN)/align chat runs/quickstart      # talk to the newest model"
	@echo "  $(BIN)/align recipes                   # what else there is to run"

world-report: $(RUN)  ## which kinds of task the quickstart's SFT model has learnt (runs/quickstart, or FOLDER=…)
	$(BIN)/python -m alignment.evaluate.accuracy $(or $(FOLDER),runs/quickstart)

evidence: $(RUN)  ## five versions against SFT and two controls over three seeds (hours), and the tables of docs/evidence.md
	$(BIN)/align study evidence
	$(BIN)/align study ablations
	$(BIN)/python -m alignment.evaluate.evidence runs/evidence/base-0 runs/evidence/base-1 runs/evidence/base-2
	$(BIN)/python -m alignment.evaluate.evidence runs/evidence/sampled-0 runs/evidence/sampled-1 runs/evidence/sampled-2

real-small: $(RUN)  ## the same stages on the real data in $$ALIGNMENT_DATA
	$(BIN)/align run real-small

test: $(DEV)  ## the tests
	$(BIN)/python -m pytest -n auto

test-fast: $(DEV)  ## the tests but the slow ones, the faults, the browser and the whole runs: under a minute on two idle cores
	$(BIN)/python -m pytest -n auto -m "not slow and not browser" --ignore=tests/faults --hypothesis-profile=fast

format: $(DEV)  ## ruff puts the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: $(DEV)  ## ruff and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

faults: $(DEV)  ## every bar of docs/reliability.md, also the long ones (about an hour on two cores)
	$(BIN)/python -m tests.faults.bars

mutants: $(DEV)  ## wrong versions of every loss: do the tests notice?
	$(BIN)/python -m tests.house.mutants

schema: $(RUN)  ## recipes/recipe.schema.json, by which editors complete the keys of recipes
	$(BIN)/align schema > recipes/recipe.schema.json.new
	mv recipes/recipe.schema.json.new recipes/recipe.schema.json

clean:  ## the environment and build leftovers; runs stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

screenshot: $(RUN)  ## the picture in the README, from the quickstart's report
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-background-networking \
	  --window-size=1280,1500 --screenshot=docs/report.png "file://$(CURDIR)/runs/quickstart/report/index.html"
