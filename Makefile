# What to do with this project on a machine that has Python 3.11 or 3.12, make and a network.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1 && echo $$p && break; done)
ROOT_FLAG := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root)
BIN := .venv/bin

.PHONY: demo test lab app
# One bootstrap for all: a virtual environment, uv, and the pinned packages. It runs again only when the pins change.
.venv/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "valor_lab needs Python 3.11 or 3.12; none was found. Set it with: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[all,dev]'
	@touch $@

demo: .venv/.ready
	@mkdir -p runs
	$(BIN)/papermill nbs/train.ipynb runs/train.ipynb
	@echo "The executed notebook is runs/train.ipynb; its table and figures are in runs/report-demo-small."

test: .venv/.ready
	$(BIN)/python tests/run.py

lab: .venv/.ready
	$(BIN)/jupyter lab --ip 127.0.0.1 $(ROOT_FLAG)

app: .venv/.ready
	$(BIN)/valor app
