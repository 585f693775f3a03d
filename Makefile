# make demo: set up and run the whole method on the embedded world.   make test: set up, check and pass the tests.
# make docs: build the documentation into site/.
PYTHON ?= python3
DEMO ?= demo
BIN := .venv/bin

export OMP_WAIT_POLICY ?= PASSIVE
export PIP_ROOT_USER_ACTION ?= ignore
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.PHONY: demo test check docs venv clean

demo: venv
	$(BIN)/concat demo --run $(DEMO)

test: venv .venv/.peers check docs
	$(BIN)/python -m pytest

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Links and anchors are checked; a broken one fails.
docs: venv
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

venv: .venv/.ready

# torch and torchvision come pinned as a pair: builds that do not belong together fail at import.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=python3.12 …"'
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade pip
	$(PIP) --constraint constraints.txt --editable '.[dev,docs]'
	touch $@

# The official panoptic evaluation, which scores are held to; without it, that one test is skipped. It asks for an old
# numpy that it does not need.
.venv/.peers: .venv/.ready
	$(PIP) --no-deps panopticapi-lite==0.2.0 || \
	  echo "panopticapi-lite could not be installed: the test against it is skipped."
	touch $@

clean:
	rm -rf .venv build site *.egg-info
