# `make` alone prints the targets. Everything is made inside this folder: .venv, .cache, dist.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
SHELL_FILES := bootstrap build-layer.sh layer/ensure-venv.sh layer/in-container.sh layer/inside-container.sh layer/python.sh $(wildcard examples/*/*.sh) .ci/run

# NAME=VALUE as --name 'VALUE', where it was given to make: PORT and HOST in the environment are somebody else's.
given = $(foreach name,$(1),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
lower = $(subst $(1),$(shell echo $(1) | tr A-Z_ a-z-),$(1))
options = $(foreach name,$(call given,$(1)),--$(call lower,$(name)) '$(subst ','\'',$($(name)))')
flags = $(foreach name,$(call given,$(1)),--$(call lower,$(name)))

.PHONY: help
help: ## print this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

.PHONY: run
run: setup ## your app as on Lambda: make run [APP=DIR] [RUNTIME=bun] [PORT=3000] ..., see docs/local.md
	@exec $(PYTHON) -m local.run $(call options,APP CMD HANDLER PORT SOURCE STAGE HOST ALLOWED_HOSTS ENVIRONMENTS RUNTIME INVOKE_MODE) \
	  $(call flags,RELOAD FREEZE JSON HTTPS) $(if $(filter 1,$(INSTALL_SCRIPTS)),--install-scripts) $(ENV:%=--env '%')

.PHONY: smoke
smoke: setup ## send real requests through the whole chain, and say what came back
	@$(PYTHON) -m local.smoke $(call options,SOURCE)

.PHONY: test
test: setup ## all tests, two files at a time; what cannot run here says why
	@$(PYTHON) -m pytest -n 2 --dist loadgroup

.PHONY: test-arm64
test-arm64: setup ## the functions' tests out of the arm64 layer, emulated (slow)
	@LOCAL_ARCHITECTURE=arm64 $(PYTHON) -m pytest tests/integration/test_function.py tests/integration/test_handlers.py

.PHONY: test-systems
test-systems: setup ## every example out of the real layers, and the figures of docs/systems.md (some minutes)
	@SYSTEMS=all $(PYTHON) -m pytest tests/systems

.PHONY: test-recycling
test-recycling: setup ## real servers that recycle or supervise themselves, 200 requests each (a minute or two)
	@$(PYTHON) -m pytest -m systems tests/systems/test_recycling.py

.PHONY: test-agents
test-agents: setup ## agents of tracing vendors in functions out of the real layer, and the figures of docs/agents.md
	@$(PYTHON) -m pytest -n 2 --dist loadgroup -m agents tests/agents
	@AGENTS=all $(PYTHON) -m pytest tests/agents -k written_down

.PHONY: test-frameworks
test-frameworks: setup ## frameworks' own Lambda handlers, from npm, on each engine, and the table of docs/javascript.md
	@FRAMEWORKS=all $(PYTHON) -m pytest tests/frameworks

.PHONY: test-containers
test-containers: setup ## the tests under a container engine, with the layers built in one (two minutes)
	@CONTAINERS=all $(PYTHON) -m pytest tests/containers

.PHONY: unit
unit: setup ## the fast tests: no layer, no emulator
	@$(PYTHON) -m pytest -m 'not integration and not containers'

.PHONY: fuzz
fuzz: setup ## other examples through the real process: make fuzz [MINUTES=10]
	@$(PYTHON) -m tests.fuzz --minutes $(or $(MINUTES),10)

.PHONY: chaos
chaos: setup ## 2,000 messages to apps that are killed and stopped: nothing lost, nothing twice (some minutes) [SEED=1]
	@$(PYTHON) -m tests.chaos $(if $(call given,SEED),--seed '$(SEED)')

.PHONY: soak
soak: setup ## a million invocations: memory has to stay where it is (about 5 minutes)
	@$(PYTHON) -m bench.soak

.PHONY: bench
bench: setup ## Fairlead and its peer side by side: some minutes (docs/performance.md)
	@$(PYTHON) -m bench.compare

.PHONY: bench-quick
bench-quick: setup ## less of everything: half a minute
	@$(PYTHON) -m bench.compare --quick

.PHONY: count
count: setup ## calls, files and changes of file of an invocation, and the size of the code
	@$(PYTHON) -m bench.count

.PHONY: count-instructions
count-instructions: setup ## instructions of an invocation, a start and an end, ours and the peer's: some minutes (valgrind)
	@$(PYTHON) -m bench.instructions

.PHONY: bench-runtimes
bench-runtimes: setup ## the same work under Node, Deno, Bun, Go and Python
	@$(PYTHON) -m bench.runtimes

.PHONY: check
check: lint types shellcheck ## what must be clean before a commit

.PHONY: lint
lint: setup ## ruff: rules and format
	@.venv/bin/ruff check && .venv/bin/ruff format --check

.PHONY: format
format: setup ## let ruff mend what it can
	@.venv/bin/ruff check --fix && .venv/bin/ruff format

.PHONY: types
types: setup ## mypy --strict
	@.venv/bin/mypy

.PHONY: shellcheck
shellcheck: setup ## the shell scripts
	@$(PYTHON) -m local.tools shellcheck $(SHELL_FILES)

.PHONY: layer
layer: setup ## dist/fairlead-x86_64.zip and dist/fairlead-arm64.zip [WITH=orjson,brotli] [RUNTIMES=bun,deno]
	@./build-layer.sh $(if $(WITH),--with '$(WITH)') $(if $(RUNTIMES),--with-runtime '$(RUNTIMES)')

.PHONY: layers-in-container
layers-in-container: ## the same in a Debian container (docker or podman): for machines without apt
	@$(if $(WITH),LAYER_WITH='$(WITH)') layer/in-container.sh

.PHONY: image
image: setup ## dist/fairlead-image.tar: both layers as a container image to COPY --from
	@$(PYTHON) -m layer.image

.PHONY: publish
publish: setup ## the layers to AWS: make publish REGIONS="eu-west-1 us-east-1" [RUNTIMES=bun] [PUBLIC=1] [NAME=...] [BUCKET_PREFIX=...]
	@$(PYTHON) -m layer.publish --regions $(REGIONS) $(call options,NAME) \
	  $(if $(RUNTIMES),--runtimes $(RUNTIMES)) $(if $(filter 1,$(PUBLIC)),$(call flags,PUBLIC)) \
	  $(if $(call given,BUCKET_PREFIX),--bucket-prefix '$(BUCKET_PREFIX)')

.PHONY: check-layer
check-layer: setup ## would it run on Lambda? make check-layer FUNCTION=DIR [FILE=layer.zip] [LAYERS="other.zip ..."]
	@$(PYTHON) -m layer.check $(if $(FILE),'$(FILE)',$(if $(FUNCTION),,$(error say what: make check-layer FUNCTION=path/to/app or FILE=dist/fairlead-x86_64.zip))) $(if $(FUNCTION),--function '$(FUNCTION)') $(if $(LAYERS),--layers $(LAYERS))

.PHONY: setup
setup: ## .venv with the pinned tools (every other target does this first)
	@layer/ensure-venv.sh

.PHONY: clean
clean: ## remove what was made here (downloads included)
	rm -rf .venv .cache dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
