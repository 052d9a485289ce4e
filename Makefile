# The verbs of this repository. Each one sets up what it needs, and does so only after a change.
#   make demo   run test_input.json through handler.py with the embedded model
#   make test   run the tests (CPU, no network beyond loopback)
#   make test-next-sdk   run the tests of RunPod's SDK with the version that is to come
#   make test-long   run the few tests of more than ten seconds
#   make coverage   run the same tests as `make test`, more slowly, and list the lines they missed
#   make image-test   build the container image and run it (docker, or root with buildah and podman)
#   make check  check format, lint, types, import rules, shell scripts, the image and the workflows
#   make bench  measure the engine against transformers' generate on this machine
#   make docs   write the tables of docs/ from the code
#   make bench-codec  measure the codec: piece sizes, its share of the time, the first sound
#   make bench-start   measure a start: where the time goes until the first sound
#   make gpu    measure everything on a CUDA machine, in at most eight minutes
#   make lock   resolve the versions again and write requirements.lock

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
NEXT_SDK := .next-sdk
UV     := uv==0.13.9

.DEFAULT_GOAL := help
.PHONY: help demo test test-next-sdk test-long coverage image-test check docs bench bench-codec bench-start gpu lock clean

help:
	@sed -n 's/^#   //p' Makefile

# uv resolves in seconds what takes pip a minute. It does not read pip's settings, so a folder of
# local wheels (such as a CPU build of torch) is passed to it.
$(READY): pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python \
		$${PIP_FIND_LINKS:+--find-links "$$PIP_FIND_LINKS"} -c requirements.lock -e '.[dev]'
	@touch $@

demo: $(READY)
	@HIGGS_MODEL=demo HIGGS_SAVE_DIR=demo-output $(BIN)/python handler.py --rp_log_level WARN
	@$(BIN)/python -c "import json; print('The text was:', json.load(open('test_input.json'))['input']['text'])"
	@echo "Listen to demo-output/local_test.wav"

test: $(READY)
	@$(BIN)/python -m pytest -n auto

# The SDK alone, in a folder before all others: what it needs is locked already. Its tests are the
# slow ones, because each starts a process.
test-next-sdk: $(NEXT_SDK)/.ready
	@PYTHONPATH=$(CURDIR)/$(NEXT_SDK) $(BIN)/python -c "import runpod; print('runpod', runpod.__version__)"
	@PYTHONPATH=$(CURDIR)/$(NEXT_SDK) $(BIN)/python -m pytest -n auto -m 'slow and not long' tests/serverless

$(NEXT_SDK)/.ready: $(READY) requirements-next-sdk.lock
	@rm -rf $(NEXT_SDK)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target $(NEXT_SDK) \
		--no-deps --require-hashes -r requirements-next-sdk.lock
	@touch $@

test-long: $(READY)
	@$(BIN)/python -m pytest -m long

coverage: $(READY)
	@$(BIN)/python -m pytest -n auto --cov --cov-report=term:skip-covered

image-test: $(READY)
	@IMAGE_TEST=1 $(BIN)/python -m pytest -m long tests/test_image.py

check: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/shellcheck bootstrap.sh deploy-runpod.sh .ci/run .github/release-notes \
		tests/fakes/base_image.sh
	@$(BIN)/hadolint Dockerfile.runpod.ultra
	@$(BIN)/actionlint -shellcheck $(BIN)/shellcheck
	@$(BIN)/zizmor --offline --quiet .github

docs: $(READY)
	@$(BIN)/python docs/generate.py

bench: $(READY)
	@$(BIN)/python -m benchmarks.engine

bench-start: $(READY)
	@$(BIN)/python -m benchmarks.start

bench-codec: $(READY)
	@$(BIN)/python -m benchmarks.codec

# Uses the machine's own Python, because a GPU machine may have no network to build .venv with. It
# needs torch, numpy and safetensors, and for parity transformers and pytest.
gpu:
	@$(PYTHON) -m benchmarks.gpu

# Names and versions only: each machine chooses its own package index.
lock: $(READY)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
		--upgrade --extra dev pyproject.toml -o requirements.lock

clean:
	@rm -rf $(VENV) $(NEXT_SDK) demo-output gpu-report .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
