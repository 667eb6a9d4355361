# make repro      the whole pipeline, on params.yaml; ends by naming the report to open
# make test       the fast tests, lint and types
# make test-slow  interrupts in every stage, full disks, remotes, fresh clones, clusters, other Pythons, fuzzing, docs
# make seeds N=3  the metrics of params.yaml over several seeds of the training: mean and standard deviation
# make compare    metrics, params and pictures of A=rev (HEAD) and B=rev (the working tree) side by side
# make whence PNG=x.png  which commit, data, params and checkpoint made a picture, and the commands that make it again
# make demo       a web page to play with the generator, of models/ or of any revision
# make bench      data path, evaluation, training and page against their parts or goals; writes benchmarks/results/
# make fresh      does the committed dvc.lock match code, params and results?
# make doctor     is this machine fit, are the cache and the remotes whole? each finding with what to do
# make trends     the metrics over Git history: reports/trends.svg
# make setup      .venv from requirements.lock (the others do it where it is needed)
# make lock       requirements*.lock from pyproject.toml (needs uv)

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
# Before .venv is on the path, and through its link: a new .venv must not be made with the one it replaces.
SYSTEM_PYTHON := $(shell readlink -f "$$(command -v $(PYTHON))")
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup repro seeds compare whence demo test test-slow bench fresh doctor trends lock
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# pip's own output is a page per package; this is a line (on a terminal: one that changes) with how far it is.
PIP_PROGRESS := awk -v total="$$(grep -c '==' requirements.lock)" -v tty="$$(test -t 2 && echo 1 || echo 0)" ' \
  /^Collecting/ { n++; if (tty) { printf "\r\033[K%d of %d packages: %s", n, total, $$2; fflush() } \
                  else if (n % 25 == 0) { printf "%d of %d packages\n", n, total; fflush() } } \
  /^ +Downloading .*\([0-9.]+ MB\)/ { size = $$(NF-1); sub(/\(/, "", size); \
                  if (size + 0 > 50) { printf "%s%s %s MB ...\n", tty ? "\r\033[K" : "", $$2, size; fflush() } } \
  /^Installing collected.* tensorflow/ { printf "%sunpacking them (TensorFlow is large: about a minute) ...\n", tty ? "\r\033[K" : ""; fflush() } \
  /^ERROR|^WARNING: Retrying/ { print; fflush() }'

setup: .venv/installed
.venv/installed: requirements.lock
	@test -n "$(SYSTEM_PYTHON)" || { echo "error: there is no $(PYTHON); name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@"$(SYSTEM_PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v[:2] <= (3, 13) and \
	  "error: Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is %d.%d; name another: make PYTHON=python3.12 ..." % v[:2])'
	@"$(SYSTEM_PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) cannot make environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@rm -rf .venv
	@echo "Setting up .venv from requirements.lock ..."
	@"$(SYSTEM_PYTHON)" -m venv .venv
	@python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements.lock 2>&1 | $(PIP_PROGRESS)
	@touch $@

repro: setup
	@python -m stages.params params.yaml
	@dvc repro
	@echo
	@echo "The report: $(CURDIR)/reports/report.html"

N ?= 3
seeds: setup
	@case "$(N)" in ''|0|*[!0-9]*) echo "error: N: expected how many seeds, such as N=3, got '$(N)'" >&2; exit 2;; esac
	@python -m stages.params params.yaml
	@dvc repro features
	@python -m studies.seeds $(N)

A ?= HEAD
B ?= workspace
compare: setup
	@python -m tools.compare "$(A)" "$(B)"

PNG ?=
whence: setup
	@python -m tools.whence "$(PNG)"

test: setup
	@ruff format --check .
	@ruff check .
	@mypy
	@pytest -q -m "not slow"

# What only extras need, into the same environment.
INSTALL_MORE = python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r $< 2>&1 | $(PIP_PROGRESS)

.venv/demo: requirements-demo.lock .venv/installed
	@$(INSTALL_MORE)
	@touch $@

PORT ?= 7860
demo: .venv/demo
	@python -m demo --port $(PORT)

# Ray, the hub's library and the like: what only extras and the slow tests need.
.venv/slow: requirements-slow.lock .venv/installed
	@$(INSTALL_MORE)
	@touch $@

test-slow: .venv/slow
	@pytest -q -m slow --durations=15

bench: .venv/slow
	@python -m benchmarks.data
	@python -m benchmarks.evaluation
	@python -m benchmarks.training
	@python -m benchmarks.demo

fresh: setup
	@python -m tools.fresh

doctor: setup
	@python -m tools.doctor

trends: setup
	@python -m tools.trends

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header --no-annotate --quiet --upgrade
lock:
	$(LOCK) --extra dev --extra slow -o requirements-slow.lock
	$(LOCK) --extra dev --extra demo -c requirements-slow.lock -o requirements-demo.lock
	$(LOCK) --extra dev -c requirements-slow.lock -o requirements.lock
