# What to do with this project on a machine that has Python 3.11 or 3.12, make and a network.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1 && echo $$p && break; done)
ROOT_FLAG := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root)
BIN := .venv/bin

# Which torch: auto takes the build for processors on a machine without an NVIDIA GPU, if the index that has it can be reached and offers it
# beside our pins and torchvision's; default is PyPI's, which carries CUDA; cpu, cu130 and so on are uv's words. UV_TORCH_BACKEND is heeded, too.
TORCH_BACKEND ?= auto
INSTALL = $(BIN)/uv pip install --python $(BIN)/python -c constraints.txt

.PHONY: demo test lab app docs about
# One bootstrap for all: a virtual environment, uv, and the pinned packages. It runs again only when the pins change; an environment
# that was not finished is made anew, and .ready says that what was installed can be imported.
.venv/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "valor_lab needs Python 3.11 or 3.12; none was found. Set it with: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -e $@ || $(PYTHON) -m venv --clear .venv
	@rm -f $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@torch="$(TORCH_BACKEND)"; why=; \
	if [ "$$torch" = auto ]; then torch=default; \
	  if [ -n "$$UV_TORCH_BACKEND" ]; then why="UV_TORCH_BACKEND=$$UV_TORCH_BACKEND decides about torch"; \
	  elif command -v nvidia-smi >/dev/null 2>&1 || [ -e /proc/driver/nvidia/version ]; then why="an NVIDIA GPU is here: torch with CUDA"; \
	  elif UV_HTTP_TIMEOUT=10 UV_HTTP_RETRIES=0 $(INSTALL) --quiet --dry-run --torch-backend cpu torch torchvision >/dev/null 2>&1; then torch=cpu; \
	  else why="no NVIDIA GPU is here, but the index with builds of torch for processors was not reached: PyPI's, of which 4 GB are CUDA"; fi; fi; \
	if [ "$$torch" = default ]; then set --; size="about 7 GB"; else set -- --torch-backend "$$torch"; size="about 7 GB with CUDA, 3 GB without"; fi; \
	if [ "$$torch" = cpu ]; then size="about 3 GB"; why="torch for processors"; fi; \
	echo "Packages for .venv: $$size on the disk, once ($${why:-TORCH_BACKEND=$$torch}). To read and score labels, pip install -e . needs 0.2 GB."; \
	$(INSTALL) --quiet "$$@" -e '.[all,dev]'
	$(BIN)/python -c 'import torch, jupyterlab, valor_lab'
	@touch $@

about:
	@echo "The demo: three to five minutes on two processors, and 0.3 GB in data/, runs/ and reports/; a second call trains nothing again."
	@test -e .venv/.ready || echo "First the packages that it needs."

# Each execution has a folder of its own below reports/: the executed notebook, its tables and its figures.
demo: about .venv/.ready
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
