# make repro             run the whole pipeline with params.yaml, then print the path of the report
# make own PICTURES=dir  look at your pictures, write params.yaml for them, train (MINUTES=30, SIZE=64, DRY=1: only write)
# make test              run the fast tests, lint and types (T=stages/train: the tests of one folder)
# make test-slow         run the slow tests: interrupts, full disks, remotes, clones, clusters, Pythons, fuzzing, docs
# make seeds N=3         train params.yaml with several seeds and print each metric's mean and standard deviation
# make sweep JOBS=2      run the queued experiments side by side, here or on a Ray cluster (RAY_ADDRESS=head:6379)
# make search N=20       search for better params with Optuna (MINUTES=60, IMAGES=24000, SPACE=file.yaml, NAME=search)
# make compare           compare the metrics, params and pictures of A=rev (HEAD) and B=rev (the working tree)
# make experiments       print a table of experiments, tags and branches (SORT=fid, FORMAT=md or csv)
# make whence PNG=x.png  show which commit, data, params and checkpoint made a picture, and how to remake it
# make demo              serve the playable page: the model in models/ or any revision's, two side by side, your own pictures
# make export            write the model as SavedModel, ONNX and LiteRT with a model card into exports/
# make bench             measure the speed of data, evaluation, training, demo and page; writes benchmarks/results/
# make fresh             check that the committed dvc.lock matches the code, the params and the results
# make publish TO=place  upload exports/ to hf://user/name, or to a folder or an address such as s3://bucket/folder
# make publish REMOTE=…  share the data and models of REV (HEAD) through a DVC remote; others read at READ=https://…
# make new NAME=Birds    start a project of your own from this one, with an empty history, in DIR (../birds)
# make doctor            check this machine, DVC's cache and the remotes; says what to do about each finding
# make trends            plot the metrics over Git history: reports/trends.svg
# make setup             create .venv from requirements.lock (the other commands do this when needed)
# make lock              write requirements*.lock from pyproject.toml (needs uv)

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
# Resolved before .venv is on the path: a new .venv must not be created with the Python of the old one.
SYSTEM_PYTHON := $(shell readlink -f "$$(command -v $(PYTHON))")
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup with-git without-git FORCE repro own seeds sweep search compare experiments whence demo export publish new test \
  test-slow bench fresh doctor trends lock
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# pip prints a page per package. This condenses it to progress lines (on a terminal, to one line that changes).
PIP_PROGRESS := awk -v total="$$(grep -c '==' requirements.lock)" -v tty="$$(test -t 2 && echo 1 || echo 0)" ' \
  /^Collecting/ { n++; if (tty) { printf "\r\033[K%d of %d packages: %s", n, total, $$2; fflush() } \
                  else if (n % 25 == 0) { printf "%d of %d packages\n", n, total; fflush() } } \
  /^ +Downloading .*\([0-9.]+ MB\)/ { size = $$(NF-1); sub(/\(/, "", size); \
                  if (size + 0 > 50) { printf "%s%s %s MB ...\n", tty ? "\r\033[K" : "", $$2, size; fflush() } } \
  /^Installing collected.* tensorflow/ { printf "%sunpacking them (TensorFlow is large: about a minute) ...\n", tty ? "\r\033[K" : ""; fflush() } \
  /^ERROR|^WARNING: Retrying/ { print; fflush() }'

# DVC needs Git, or to be told that there is none, as in a project that was downloaded as a zip.
GIT := $(or $(wildcard .git),$(shell git rev-parse --git-dir 2>/dev/null))
NO_SCM := $(shell grep -s 'no_scm = true' .dvc/config.local)
setup: .venv/installed $(if $(GIT),$(if $(NO_SCM),with-git),$(if $(NO_SCM),,without-git)) .venv/plots.html
without-git: .venv/installed
	@dvc config --local core.no_scm true
	@echo "No Git repository here: make repro works; what needs a history (compare, whence, experiments) does not." >&2
with-git: .venv/installed
	@dvc config --local --unset core.no_scm

# The programs in .venv hold its absolute path, so a project that was moved gets a new one.
ifneq ($(wildcard .venv/bin/dvc),)
MOVED := $(shell head -c 1000 .venv/bin/dvc | grep -qF '$(realpath .venv)/bin/python' || echo FORCE)
endif
FORCE:
.venv/installed: requirements.lock $(MOVED)
	@test -n "$(SYSTEM_PYTHON)" || { echo "error: $(PYTHON) is not installed; name another Python: make PYTHON=python3.12 ..." >&2; exit 1; }
	@"$(SYSTEM_PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v[:2] <= (3, 13) and \
	  "error: Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is %d.%d; name another: make PYTHON=python3.12 ..." % v[:2])'
	@"$(SYSTEM_PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) cannot create virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@rm -rf .venv
	@echo "Setting up .venv from requirements.lock ..."
	@"$(SYSTEM_PYTHON)" -m venv .venv
	@python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements.lock 2>&1 | $(PIP_PROGRESS)
	@touch $@

# The page of `dvc plots`, which needs no network. Without it, `dvc plots` works with DVC's own.
.venv/plots.html: .venv/installed tools/plots_page.py
	@python -m tools.plots_page $@

repro: setup
	@python -m tools.dvc_repro
	@echo
	@echo "The report: $(CURDIR)/reports/report.html"

PICTURES ?=
MINUTES ?=
SIZE ?=
DRY ?=
own: setup
	@python -m tools.own "$(PICTURES)" --minutes "$(MINUTES)" --size "$(SIZE)"
	@if test -n "$(DRY)"; then echo "To train: make repro"; else $(MAKE) --no-print-directory repro && python -m tools.own.results; fi

N ?= 3
seeds: setup
	@case "$(N)" in ''|0|*[!0-9]*) echo "error: N: expected a number of seeds, such as N=3, got '$(N)'" >&2; exit 2;; esac
	@python -m tools.mend
	@python -m stages.params params.yaml
	@dvc repro features
	@python -m studies.seeds $(N)

JOBS ?= 2
sweep: setup
	@python -m tools.sweep --jobs "$(JOBS)"

IMAGES ?=
SPACE ?= tools/search/space.yaml
search: N = 20
search: setup
	@python -m tools.mend
	@python -m tools.search --trials "$(N)" --minutes "$(MINUTES)" --images "$(IMAGES)" --space "$(SPACE)" --name "$(or $(NAME),search)"

A ?= HEAD
B ?= workspace
compare: setup
	@python -m tools.compare "$(A)" "$(B)"

SORT ?=
FORMAT ?= text
experiments: setup
	@python -m tools.experiments --sort "$(SORT)" --format "$(FORMAT)"

PNG ?=
whence: setup
	@python -m tools.whence "$(PNG)"

NAME ?=
DIR ?=
new: export TITLE = $(NAME)
new: setup
	@python -m tools.new "$$TITLE" "$(DIR)"

# Test files run side by side. T names one room: stages/train, tools, or stages for the files directly in stages/.
PYTEST = pytest -q --numprocesses 2 --dist loadfile
T ?=
test: setup
	@case "$(T)" in \
	  '') ruff format --check . && ruff check . && mypy && $(PYTEST) -m "not slow" ;; \
	  *) test -d "tests/$(T:stages/%=%)" || { echo "error: T: no such room: $(T); try one of" tests/*/ >&2; exit 2; }; \
	     $(PYTEST) -m "not slow" "tests/$(T:stages/%=%)" ;; \
	esac

# Install more packages into the same environment.
INSTALL_MORE = python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r $< 2>&1 | $(PIP_PROGRESS)

PORT ?= 7860
demo: setup
	@python -m demo --port $(PORT)

.venv/export: requirements-export.lock .venv/installed
	@$(INSTALL_MORE)
	@touch $@

export: .venv/export
	@python -m tools.export

TO ?=
REMOTE ?=
READ ?=
REV ?= HEAD
publish: setup $(if $(TO),.venv/export)
	@if test -n "$(TO)"; then python -m tools.export.publish "$(TO)"; \
	elif test -n "$(REMOTE)"; then python -m tools.publish_remote "$(REMOTE)" --read "$(READ)" --rev "$(REV)"; \
	else echo "error: name TO=hf://user/name for the model, or REMOTE=s3://bucket/dcgan for data and models" >&2; exit 2; fi

# Packages that only extras and the slow tests need, such as Ray.
.venv/slow: requirements-slow.lock .venv/installed
	@$(INSTALL_MORE)
	@touch $@

test-slow: .venv/slow
	@$(PYTEST) --no-loadscope-reorder -m slow --durations=25

bench: .venv/slow
	@python -m benchmarks.data
	@python -m benchmarks.evaluation
	@python -m benchmarks.training
	@python -m benchmarks.demo
	@python -m benchmarks.play

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
	$(LOCK) --extra dev --extra export -c requirements-slow.lock -o requirements-export.lock
	$(LOCK) --extra dev -c requirements-slow.lock -o requirements.lock
