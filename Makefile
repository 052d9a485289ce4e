# The verbs of this repository. Each one sets up what it needs, and does so only after a change.
#   make demo   run test_input.json through handler.py with the embedded model
#   make play   serve the page with the embedded model at http://127.0.0.1:8000; PORT=… elsewhere
#   make test   run the tests (CPU, no network beyond loopback)
#   make test-next-sdk   run the tests of RunPod's SDK with the version that is to come
#   make test-clients   run the tests of other people's clients of the HTTP server: 0.7 GB
#   make test-page   run the tests of the page in a browser: Chromium or Chrome, which must be there
#   make test-long   run the few tests of more than ten seconds
#   make coverage   run the same tests as `make test`, more slowly, and list the lines they missed
#   make image-test   build the container image and run it (docker, or root with buildah and podman)
#   make check  check format, lint, types, import rules, shell scripts, the image and the workflows
#   make bench  measure the engine against transformers' generate on this machine
#   make docs   write the tables of docs/ from the code
#   make bench-codec  measure the codec: piece sizes, its share of the time, the first sound
#   make bench-pull    measure the pull of weights against huggingface_hub's
#   make bench-start   measure a start: where the time goes until the first sound
#   make bench-http   measure the HTTP server: crowds, websockets, health, and what HTTP costs
#   make gpu    measure everything on a CUDA machine, in at most eight minutes
#   make real-size   run the worker on a checkpoint of the real size, and compare with transformers:
#                    some 20 minutes on two quiet cores, 30 GB of disk, 14 GB of memory
#   make install   install the worker into .venv; all other verbs do that by themselves
#   make lock   lock what pyproject.toml asks for; locked versions stay where they can
#   make upgrade   the same with the newest versions
#   make notices   write the table of THIRD_PARTY_NOTICES.md; `make lock` does it as well

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKER := $(VENV)/.worker
TOOLS  := $(VENV)/.tools
NEXT_SDK := .next-sdk
CLIENTS := .clients

.DEFAULT_GOAL := help
.PHONY: help install demo play test test-next-sdk test-clients test-page test-long coverage image-test check docs bench bench-codec bench-http bench-pull bench-start gpu real-size lock upgrade notices clean

help:
	@sed -n 's/^#   //p' Makefile

# uv resolves in seconds what takes pip a minute. Its own wheel is checked by pip, all others by uv.
$(BIN)/uv: requirements-uv.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@touch $@

# uv does not read pip's settings, so a folder of local wheels is passed to it. It takes no wheel
# whose hash is not in the lock, not even to build this package (-b).
INSTALL = $(BIN)/uv pip install --python $(BIN)/python $${PIP_FIND_LINKS:+--find-links "$$PIP_FIND_LINKS"}

# On Linux, the package index has torch's CUDA build: 3 GB with what it needs. A machine without a
# GPU takes the CPU build from torch's own index instead, 0.2 GB, if that answers at once. A folder
# of wheels, or uv's own variable, decides otherwise.
CHOOSE_TORCH = if [ -z "$$PIP_FIND_LINKS$$UV_TORCH_BACKEND" ] && ! command -v nvidia-smi >/dev/null; then \
	if UV_HTTP_RETRIES=0 UV_HTTP_CONNECT_TIMEOUT=5 UV_HTTP_TIMEOUT=5 $(INSTALL) --quiet --dry-run --no-deps \
		--torch-backend cpu "$$(grep -o 'torch==[^"]*' pyproject.toml)" 2>/dev/null; \
	then export UV_TORCH_BACKEND=cpu; \
	else echo "torch's own index does not answer: taking its CUDA build, which is 3 GB"; fi; fi

$(WORKER): $(BIN)/uv pyproject.toml requirements.lock
	@$(CHOOSE_TORCH); $(INSTALL) --quiet -b requirements.lock -c requirements.lock -e .
	@touch $@

$(TOOLS): $(WORKER) requirements-dev.lock
	@$(INSTALL) --quiet -b requirements.lock -c requirements-dev.lock -e '.[dev,kernels]'
	@touch $@

install: $(WORKER)

demo: $(WORKER)
	@HIGGS_MODEL=demo HIGGS_SAVE_DIR=demo-output $(BIN)/python handler.py --rp_log_level WARN
	@$(BIN)/python -c "import json; print('The text was:', json.load(open('test_input.json'))['input']['text'])"
	@echo "Listen to demo-output/local_test.wav"

PORT ?= 8000

# In a terminal, Ctrl-C is for the server alone (set -m), which then ends well. make would call it an
# error, and so would the shell (trap) where it ends the server before that listens: code 130.
play: $(WORKER)
	@echo "Open http://127.0.0.1:$(PORT) in a browser; Ctrl-C ends the server"
	@if [ -t 0 ]; then set -m; trap : INT; fi; \
		HIGGS_MODEL=demo PORT=$(PORT) $(BIN)/python -m higgs_worker serve || [ $$? -eq 130 ]

test: $(TOOLS)
	@$(BIN)/python -m pytest -n auto

# The SDK alone, in a folder before all others: what it needs is locked already. Its tests are the
# slow ones, because each starts a process.
test-next-sdk: $(NEXT_SDK)/.ready
	@PYTHONPATH=$(CURDIR)/$(NEXT_SDK) $(BIN)/python -c "import runpod; print('runpod', runpod.__version__)"
	@PYTHONPATH=$(CURDIR)/$(NEXT_SDK) $(BIN)/python -m pytest -n auto -m 'slow and not long' tests/serverless

$(NEXT_SDK)/.ready: $(TOOLS) requirements-next-sdk.lock
	@rm -rf $(NEXT_SDK)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target $(NEXT_SDK) \
		--no-deps --require-hashes -r requirements-next-sdk.lock
	@touch $@

# Beside the worker, because what they need is not what the worker needs. One of them, and its tests,
# is there from Python 3.12 on (CLIENTS_PYTHON).
CLIENTS_PYTHON ?= $(PYTHON)

test-clients: $(CLIENTS)/.ready
	@WORKER_PYTHON=$(CURDIR)/$(BIN)/python $(CLIENTS)/bin/python -m pytest -m 'not gpu' tests/http/clients

$(CLIENTS)/.ready: $(TOOLS) requirements-clients.lock tests/http/clients/package-lock.json
	@rm -rf $(CLIENTS)
	@$(BIN)/uv venv --quiet --python $(CLIENTS_PYTHON) $(CLIENTS)
	@$(BIN)/uv pip install --quiet --python $(CLIENTS)/bin/python --require-hashes -r requirements-clients.lock
	@cp tests/http/clients/package*.json $(CLIENTS)
	@if command -v npm >/dev/null; then npm ci --prefix $(CLIENTS) --silent --ignore-scripts; fi
	@touch $@

# A test process has a browser and servers of its own, so more of them than cores gain nothing.
test-page: $(TOOLS)
	@$(BIN)/python -m tests.page.chromium >/dev/null
	@$(BIN)/python -m pytest -n 2 -m browser tests/page

test-long: $(TOOLS)
	@$(BIN)/python -m pytest -m long

coverage: $(TOOLS)
	@$(BIN)/python -m pytest -n auto --cov --cov-report=term:skip-covered

image-test: $(TOOLS)
	@IMAGE_TEST=1 $(BIN)/python -m pytest -m long tests/test_image.py

check: $(TOOLS)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/shellcheck bootstrap.sh deploy-runpod.sh .ci/run .github/release-notes \
		tests/fakes/base_image.sh
	@$(BIN)/hadolint Dockerfile.runpod.ultra
	@$(BIN)/actionlint -shellcheck $(BIN)/shellcheck
	@$(BIN)/zizmor --offline --quiet .github

docs: $(TOOLS)
	@$(BIN)/python docs/generate.py

bench: $(TOOLS)
	@$(BIN)/python -m benchmarks.engine

bench-pull: $(TOOLS)
	@$(BIN)/python -m benchmarks.pull

bench-start: $(TOOLS)
	@$(BIN)/python -m benchmarks.start

bench-codec: $(TOOLS)
	@$(BIN)/python -m benchmarks.codec

bench-http: $(TOOLS)
	@$(BIN)/python -m benchmarks.http

# Uses the machine's own Python, because a GPU machine may have no network to build .venv with. It
# needs torch, numpy, safetensors and triton, and for parity transformers and pytest.
gpu:
	@$(PYTHON) -m benchmarks.gpu

# Of llama-models only the vocabulary is used.
real-size: $(TOOLS)
	@$(INSTALL) --quiet -b requirements.lock -c requirements-dev.lock -e '.[dev,kernels,reference]'
	@$(BIN)/python -m benchmarks.real_size

# Programs that speak to the HTTP server, and what their tests need.
CLIENT_PACKAGES = deepgram-sdk livekit-plugins-deepgram livekit-plugins-openai openai \
	'pipecat-ai[deepgram,openai]' "wyoming-openai; python_version >= '3.12'" pytest soundfile

# Names, versions and hashes only: each machine chooses its own package index. Without torch, whose
# builds differ under one version: pyproject.toml names that.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-package torch $(UPGRADE)

upgrade: UPGRADE := --upgrade
upgrade: lock

lock: $(BIN)/uv
	@$(COMPILE) pyproject.toml -o requirements.lock
	@$(COMPILE) pyproject.toml --all-extras -c requirements.lock -o requirements-dev.lock
	@echo uv | $(COMPILE) - -o requirements-uv.lock
	@printf '%s\n' $(CLIENT_PACKAGES) | $(COMPILE) - -o requirements-clients.lock
	@$(MAKE) --no-print-directory notices

notices: $(TOOLS)
	@$(BIN)/python docs/third_party.py

clean:
	@rm -rf $(VENV) $(NEXT_SDK) $(CLIENTS) demo-output gpu-report real-size-report .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
