# SPDX-License-Identifier: GPL-2.0-or-later
# Two targets for newcomers: `make demo` and `make test`.  Each installs what is missing.

# Commands are started over and over: their modules are compiled once.
unexport PYTHONDONTWRITEBYTECODE

LAB := .venv/bin/lab
PYTHON := .venv/bin/python
# Two guests at a time.  The tests of a module share theirs; the long ones come first.
PYTEST := $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder
SCRIPTS := scripts/setup .ci/run findings/run $(wildcard findings/*.sh) lab/vm/supervise.sh guest-scripts/init guest-scripts/init-early \
	guest-scripts/layers/layers guest-scripts/copies/nvme-copy \
	guest-scripts/suites/mount-tree tests/fixtures/fstests/check tests/fixtures/blktests/check \
	tests/plugin/lab_example/guest/queue-limits lab/artifacts/enter.sh

.PHONY: help demo test unit boot check shellcheck setup benchmark matrix findings

help:
	@echo "make demo       boot nvme-copy, interrupt NVMe copies at every point, judge each, write pages"
	@echo "make test       check the code and run all tests"
	@echo "make unit       the tests that need no QEMU"
	@echo "make boot       the tests that boot guests"
	@echo "make benchmark  measure against an older lab and virtme-ng, write docs/benchmarks.md"
	@echo "make matrix     QEMUs by kernels: carry out plans/matrix.yaml, write docs/matrix.md"
	@echo "make findings   see whether what was found in QEMU, kernels and tools is still so"
	@echo "make setup      install what is missing, nothing else"

setup:
	@scripts/setup

# A violated rule (exit status 1) is something found, not a demo that failed.
demo: setup
	@$(LAB) run nvme-copy copy-faults || [ $$? -eq 1 ]
	@$(LAB) results html --run latest

check: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/codespell
	.venv/bin/actionlint examples/workflows/*.yml
	@$(MAKE) --no-print-directory shellcheck

shellcheck:
	shellcheck $(SCRIPTS)

unit: setup
	$(PYTEST) tests/unit

boot: setup
	$(PYTEST) tests/boot

test: check
	$(PYTEST) --durations=25

# What does not hold (exit status 1) or cannot be run (3) stands on the page.
matrix: setup
	@$(LAB) nightly plans/matrix.yaml || [ $$? -eq 1 ] || [ $$? -eq 3 ]
	@$(LAB) results matrix --known plans/matrix-known.yaml --plan plans/matrix.yaml >docs/matrix.md.new
	@mv docs/matrix.md.new docs/matrix.md

benchmark:
	@scripts/setup benchmark
	$(PYTHON) -m benchmarks

# An hour; the commands of docs/findings.md, and the scripts that do without the lab.
findings: setup
	@findings/run; scripts=$$?; \
	LAB_FINDINGS=1 $(PYTHON) -m pytest tests/boot/test_findings.py && exit $$scripts
