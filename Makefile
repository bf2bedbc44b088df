# What to do with this project on a machine that has Python 3.11 or 3.12, make and a network.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1 && echo $$p && break; done)
ROOT_FLAG := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root)
BIN := .venv/bin

.PHONY: demo test lab app docs
# One bootstrap for all: a virtual environment, uv, and the pinned packages. It runs again only when the pins change; an environment
# that was not finished is made anew, and .ready says that what was installed can be imported.
.venv/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "valor_lab needs Python 3.11 or 3.12; none was found. Set it with: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -e $@ || $(PYTHON) -m venv --clear .venv
	@rm -f $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[all,dev]'
	$(BIN)/python -c 'import torch, jupyterlab, valor_lab'
	@touch $@

# Each execution has a folder of its own below reports/: the executed notebook, its tables and its figures.
demo: .venv/.ready
	@report=reports/demo-$$(date +%Y%m%d-%H%M%S) && mkdir -p reports && mkdir $$report && \
	$(BIN)/papermill nbs/train.ipynb $$report/train.ipynb -p report $$report && \
	echo "The executed notebook, its table and its figures are in $$report."

test: .venv/.ready
	$(BIN)/python tests/run.py

lab: .venv/.ready
	$(BIN)/jupyter lab --ip 127.0.0.1 $(ROOT_FLAG)

app: .venv/.ready
	$(BIN)/valor app

# The documentation as static pages in site/; notebooks are shown as committed.
docs: .venv/.ready
	$(BIN)/python docs/tools/build.py
