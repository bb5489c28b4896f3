# Every target does its own set-up, once: what is installed, built or up to date is left alone.

VENV := .venv
RUNTIME := $(VENV)/.installed-runtime
PROJECT := $(VENV)/.installed-project
DEV := $(VENV)/.installed-dev
PIP_INSTALL := $(VENV)/bin/python -m pip --disable-pip-version-check -qq install --root-user-action=ignore
JOBS := 2  # processors that make test uses
PARALLEL = $(if $(filter-out 1,$(JOBS)),--numprocesses $(JOBS) --no-loadscope-reorder)
LINTED := reconciler tests bpf scripts

.PHONY: help demo test lint bpf abi bench lab venv dev wheel lock check-fresh clean
.PHONY: root packages-demo packages-test bpffs
.DELETE_ON_ERROR:
.NOTPARALLEL:  # apt and pip lock each other out

help:  ## list the targets
	@awk -F': .*## |:  ## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: root $(PROJECT) bpf bpffs  ## show the main job on real packets: push, converge, ping, drift, heal (root)
	@$(VENV)/bin/reconciler lab demo

test: root lint $(DEV) bpf bpffs  ## lint, then every test: manifests to packets (root)
	@$(VENV)/bin/python -m pytest $(PARALLEL) --durations 10 $(PYTEST_ARGS)

lint: $(DEV)  ## check formatting, lint and strict types
	@$(VENV)/bin/ruff format --check --quiet $(LINTED)
	@$(VENV)/bin/ruff check --quiet $(LINTED)
	@clang-format --dry-run -Werror bpf/*.[ch]
	@$(VENV)/bin/mypy --strict reconciler bpf/genabi.py scripts/wheel_data.py

bpf: packages-demo  ## compile the XDP programs into bpf/build
	@$(MAKE) --no-print-directory -s -C bpf

abi: $(DEV) bpf  ## generate reconciler/abi/generated.py from the compiled programs
	@$(VENV)/bin/python bpf/genabi.py bpf/build/*.bpf.o

bench: root $(DEV) bpf bpffs  ## measure into BENCHMARKS.md, a quarter of an hour; QUICK=1: five minutes (root)
	@$(VENV)/bin/python -m pytest tests/bench -m bench -s

lab: root $(PROJECT) bpf bpffs  ## bring sample-repo up as namespaces on this machine (root)
	@$(VENV)/bin/reconciler lab up sample-repo

venv: $(PROJECT)  ## make the virtual environment .venv with the command reconciler

dev: $(DEV)  ## add the tools of lint and tests to .venv

wheel: $(PROJECT) bpf  ## build the wheel, with schemas and compiled programs, into dist
	@$(VENV)/bin/python -m pip --disable-pip-version-check -qq wheel --no-deps --no-build-isolation -w dist .
	@ls dist/*.whl

lock:  ## renew the lock files in requirements
	@scripts/lock

check-fresh: root  ## prove demo and tests in a fresh Debian 12 root (root)
	@scripts/check-fresh

clean:  ## remove what the other targets made here
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@$(MAKE) --no-print-directory -s -C bpf clean
	@find reconciler tests bpf -name __pycache__ -prune -exec rm -rf {} +

root:
	@[ "$$(id -u)" = 0 ] || { echo "make $(MAKECMDGOALS): needs root, for namespaces and BPF" >&2; exit 1; }

packages-demo:
	@scripts/install-packages packages/demo.txt

packages-test:
	@scripts/install-packages packages/demo.txt packages/test.txt

bpffs:
	@scripts/mount-bpffs

$(RUNTIME): requirements/runtime.txt requirements/build.txt scripts/make-venv | packages-demo
	@echo "installing Python packages into $(VENV): requirements/runtime.txt, requirements/build.txt"
	@scripts/make-venv $(VENV)
	@$(PIP_INSTALL) --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@touch $@

$(PROJECT): pyproject.toml $(RUNTIME)
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements/dev.txt $(PROJECT) | packages-test
	@echo "installing Python packages into $(VENV): requirements/dev.txt"
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
