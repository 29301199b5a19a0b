# Two commands: `make study` runs the laptop-scale study, `make test` the tests; both set up .venv first.
PYTHON ?= python3
CORES ?= all
SCALE ?= laptop
BIN := .venv/bin

# `python` in a rule is what PATH has. With Slurm's packages installed and no controller running, every
# Snakemake call would wait 10 s for it.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export SLURM_CONF ?= /dev/null
# Threads that wait for each other sleep, so that jobs which share the cores do not slow each other down.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: study report reference docs test test-slurm torture format clean docs/images/rules.svg

study: .venv/installed
	snakemake --cores $(CORES) --config scale=$(SCALE) --report results/$(SCALE)/report.html --report-after-run
	@python -m workflow_scripts.study.claims_summary results/$(SCALE)
	@echo "report: results/$(SCALE)/report.html"

report: .venv/installed
	snakemake --cores $(CORES) --config scale=$(SCALE) --report results/$(SCALE)/report.html

# Keep a complete run in git as the reference of its scale, and write docs/claims.md anew.
reference: .venv/installed
	python -m workflow_scripts.study.keep_reference $(SCALE)

# The site opens from the disk, without a server and without the network.
docs: .venv/docs-installed
	python -m sphinx --quiet --fail-on-warning --keep-going -d .sphinx docs site
	@echo "site: site/index.html"

# The rules and what they depend on; needs Graphviz.
docs/images/rules.svg: .venv/installed
	snakemake --rulegraph --config scale=laptop | dot -Tsvg -o $@

# A file in one process, since its tests share what they made; one thread each, so that they do not wait for each other.
test: .venv/installed .venv/docs-installed
	OMP_NUM_THREADS=1 pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# On the Slurm that runs here; tests/cluster/one_node_slurm.sh starts one.
test-slurm: .venv/installed
	env -u SLURM_CONF pytest -m slurm

# Long tests, for a person. ABTEM_PYTHON: Python of an environment with abTEM, for the live comparison.
torture: .venv/installed
	pytest -m torture -rs -s

format: .venv/installed
	ruff format .
	ruff check --fix .
	snakefmt Snakefile rules

clean:
	rm -rf .venv .snakemake .checkpoints results/smoke site .sphinx

.venv/installed: envs/lock.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Beamtime needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement envs/lock.txt
	touch $@

.venv/docs-installed: .venv/installed envs/docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement envs/docs.txt --constraint envs/lock.txt
	touch $@
