# The verbs: demo, test, test-strategies, test-cluster, test-peers, soak, lint, bench, docs, site. Each makes the virtual environment that it needs.

PYTHON ?= python3
VENV ?= .venv
CORE_VENV ?= .venv-core
PEERS_VENV ?= .venv-peers
MMCV_VENV ?= .venv-mmcv

# The version that constraints.txt pins, for every environment.
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)

BIN := $(VENV)/bin
PINNED := -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PIP := $(BIN)/python $(PINNED)
CORE_PIP := $(CORE_VENV)/bin/python $(PINNED)
DEMO_CONFIG := examples/digits/config.py
DEMO_DIR := work_dirs/digits
SOAK_ROUNDS ?= 10
SOAK_PROJECTS ?= 500
SOAK_KILLS ?= 500
SOAK_FILES ?= 10000
SOAK_RUNS ?= 200

# Each of them is minutes of two or four ranks at work.
STRATEGY_TESTS := tests/strategy/test_deepspeed.py tests/strategy/test_tensor_parallel.py

# Parts in which tests neither start processes nor train, but for those whose names say so.
FAST_TESTS := $(addprefix tests/,analysis config device evaluator logging registry structures utils) \
	-m 'not distributed' -k 'not process and not spawned and not import and not million'

.PHONY: help demo test test-fast test-python test-strategies test-cluster coverage soak soak-faults soak-mmcv test-core test-mmcv test-peers lint format bench bench-check bench-peers docs site pictures clean

help:
	@echo 'make demo         train a CNN on handwritten digits and test it: about a minute, after installing'
	@echo 'make test         run all tests but those of the next two verbs'
	@echo 'make test-fast    run the tests that start no process and train next to nothing: under a minute'
	@echo 'make test-python VERSION=3.13  run all tests under another Python, in an environment of its own'
	@echo 'make test-strategies  run the long tests of DeepSpeed and tensor parallel, with real ranks'
	@echo 'make coverage     run all tests of make test, and fail if they execute too little of the package'
	@echo 'make test-cluster run the tests that need Slurm and Open MPI, on a cluster that is started for them'
	@echo 'make soak         look for examples that break a property, drawn anew in each of SOAK_ROUNDS=$(SOAK_ROUNDS) rounds; then soak-faults'
	@echo 'make soak-faults  SOAK_KILLS=$(SOAK_KILLS) kills, SOAK_FILES=$(SOAK_FILES) hostile files, SOAK_RUNS=$(SOAK_RUNS) runs in one process: what is lost, run or left'
	@echo 'make test-core    import and smoke tests of the built package, nothing but its core dependencies there'
	@echo 'make test-mmcv    check that recorded trainings are those of MMCV 1.7.2, installed apart in $(MMCV_VENV)'
	@echo 'make test-peers   train the same in Lightning, Transformers, MMCV and MMEngine, as the pages "From ..." show it'
	@echo 'make soak-mmcv    draw SOAK_PROJECTS=$(SOAK_PROJECTS) legacy projects, and run each under MMCV and, migrated, here'
	@echo 'make lint         check style, types, the layers of the package, spelling and plain English'
	@echo 'make format       lay out the code, and correct what ruff can correct'
	@echo 'make bench        run the benchmarks'
	@echo 'make bench-check  measure again, and fail if a figure is over a tenth worse than the last committed'
	@echo 'make bench-peers  the same step in other training engines, installed apart in $(PEERS_VENV)'
	@echo 'make docs         run the examples in docstrings'
	@echo 'make site         build the site of the documentation into build/site'
	@echo 'make pictures     take the pictures of the terminal and of the report in docs/images anew'
	@echo 'make clean        remove what the others made: environments and the run of the demo'

demo: $(VENV)/.installed-demo
	$(BIN)/mmengine train $(DEMO_CONFIG)
	@echo
	@echo 'The best checkpoint again, from its file:'
	best=$$(ls -t $(DEMO_DIR)/best_*.pth | head -n 1) && $(BIN)/mmengine test $(DEMO_CONFIG) "$$best"
	@echo
	@echo 'In $(DEMO_DIR): config.py (as it ran), curves.png (loss and accuracy), checkpoints, and for each start'
	@echo 'a folder named by its time with the log and vis_data/scalars.json.'

# Tests start hundreds of processes, and each reads compiled files faster than it compiles them.
unexport PYTHONDONTWRITEBYTECODE

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore tests/cluster $(addprefix --ignore ,$(STRATEGY_TESTS))

test-fast: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist worksteal $(FAST_TESTS)

# The interpreter is python$(VERSION) of the path, or the newest one of pyenv.
test-python:
	@test -n '$(VERSION)' || { echo 'make test-python VERSION=3.13'; exit 2; }
	@for python in "$$(command -v python$(VERSION))" $$(ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$(VERSION)*/bin/python 2>/dev/null | sort -rV); do \
		if [ -n "$$python" ] && "$$python" -c '' 2>/dev/null; then \
			exec $(MAKE) --no-print-directory test PYTHON="$$python" VENV=.venv-$(VERSION); \
		fi; \
	done; \
	echo 'There is no Python $(VERSION) here.'; exit 2

test-strategies: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile $(STRATEGY_TESTS)

# Takes twice as long as `make test`. COVERAGE_TESTS=tests/config measures a part, without the floor.
coverage: $(VENV)/.installed-dev
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -q -n 2 --dist worksteal \
		--ignore tests/cluster $(addprefix --ignore ,$(STRATEGY_TESTS)) $(COVERAGE_TESTS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report $(if $(COVERAGE_TESTS),--fail-under=0)

# Starts Slurm by itself, on this machine, in a folder and on ports of its own. Without its programs
# (apt install slurm-wlm munge openmpi-bin) the tests are skipped.
test-cluster: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/cluster

# `make test` draws the same examples every time. A failure here ends with how to keep its example.
soak: $(VENV)/.installed-dev
	@for round in $$(seq $(SOAK_ROUNDS)); do \
		echo "round $$round of $(SOAK_ROUNDS)"; \
		$(BIN)/python -m pytest -q -n 2 --hypothesis-profile=soak -m hypothesis || exit 1; \
	done
	$(MAKE) soak-faults

soak-faults: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults/soak.py --kills $(SOAK_KILLS) --files $(SOAK_FILES) --runs $(SOAK_RUNS)

# pytest is called by its own name and without the repository on the path: what is tested is the installed package.
test-core: $(CORE_VENV)/.installed
	$(CORE_VENV)/bin/pytest -o pythonpath= -p no:cacheprovider tests/api tests/parity

soak-mmcv: $(MMCV_VENV)/.installed $(VENV)/.installed-dev
	$(BIN)/python benchmarks/migrate_soak.py --mmcv-python $(MMCV_VENV)/bin/python \
		--projects $(SOAK_PROJECTS) --scripts $(SOAK_PROJECTS)

# Each side runs in its own process and environment. `make test` compares this side with the loop by hand.
test-peers: $(VENV)/.installed-dev $(PEERS_VENV)/.installed $(MMCV_VENV)/.installed
	PEERS_PYTHON=$(abspath $(PEERS_VENV))/bin/python MMCV_PYTHON=$(abspath $(MMCV_VENV))/bin/python \
		$(BIN)/python -m pytest -q tests/docs/test_side_by_side.py tests/docs/test_comparison.py

# The recorders import nothing of this package.
test-mmcv: $(MMCV_VENV)/.installed
	cd tests/migrate && $(abspath $(MMCV_VENV))/bin/python -m mmcv_runs.check

lint: $(VENV)/.installed-dev
	@failed=0; \
	for check in 'ruff check .' 'ruff format --check .' mypy lint-imports codespell \
			'pytest -q -p no:cacheprovider tests/api/test_plain_english.py'; do \
		echo "$$check"; $(BIN)/$$check || failed=1; \
	done; \
	exit $$failed

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --doctest-modules --ignore mmengine/cli/_templates mmengine

# Every warning is an error. Pages in docs/generated are written from the code first.
site: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q -j 2 -b html docs build/site
	@echo 'The site: build/site/index.html'

# Terminal and page as they are, for the docs. Needs tmux and chromium.
pictures: $(VENV)/.installed-dev
	$(BIN)/python docs/_generate/pictures.py

bench: $(VENV)/.installed-dev
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done
	$(BIN)/python benchmarks/_page.py

# Not part of CI: it needs a machine with nothing else at work.
bench-check: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/_check.py

bench-peers: $(VENV)/.installed-dev $(PEERS_VENV)/.installed
	$(BIN)/python benchmarks/step_overhead.py

# torch comes first and by its exact version: an open requirement lets pip take the newest build with CUDA in it.
$(VENV)/.installed-demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) setuptools torch==$(TORCH)
	$(PIP) --no-build-isolation --editable '.[demo]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-demo
	$(PIP) --no-build-isolation --editable '.[test,lint,ecosystem]'
	$(PIP) --no-deps timm
	$(PIP) --no-deps einops hjson msgpack psutil py-cpuinfo
	DS_ACCELERATOR=cpu DS_BUILD_OPS=0 $(PIP) --no-build-isolation --no-deps deepspeed
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed-demo
	$(PIP) --no-build-isolation --editable '.[docs]'
	touch $@

$(CORE_VENV)/.installed: pyproject.toml constraints.txt $(shell find mmengine -name '*.py' -o -name '*.json')
	$(PYTHON) -m venv $(CORE_VENV)
	$(CORE_PIP) setuptools torch==$(TORCH) pytest
	$(CORE_PIP) --no-build-isolation --force-reinstall --no-deps .
	$(CORE_PIP) --no-build-isolation .
	touch $@

$(PEERS_VENV)/.installed: benchmarks/peers-requirements.txt
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --quiet torch==$(TORCH)
	$(PEERS_VENV)/bin/python -m pip install --quiet --requirement benchmarks/peers-requirements.txt
	touch $@

# MMCV's own build needs an old setuptools at hand, and its operators a compiler that nothing here uses.
$(MMCV_VENV)/.installed:
	$(PYTHON) -m venv $(MMCV_VENV)
	$(MMCV_VENV)/bin/python -m pip install --quiet --disable-pip-version-check torch==$(TORCH) 'setuptools<81' wheel
	MMCV_WITH_OPS=0 $(MMCV_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-build-isolation mmcv==1.7.2
	touch $@

clean:
	rm -rf $(VENV) $(CORE_VENV) $(PEERS_VENV) $(MMCV_VENV) .venv-ci .venv-3.* $(DEMO_DIR) build docs/generated *.egg-info .coverage .coverage.*
