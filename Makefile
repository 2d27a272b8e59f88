# `make help` lists what there is. Everything runs in .venv, which the first target makes.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# A constraints file: it says which versions to take, not what to install.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock
PORT ?= 8000

.PHONY: help book test check gpu outputs export pdf zip notebooks serve lock lighthouse clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

# Building the book executes nothing: it needs neither torch nor the laboratory, so their gigabytes wait.
.venv/book: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e '.[book]'
	touch $@

.venv/pdf: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e '.[pdf]'
	touch $@ .venv/book

.venv/dev: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e '.[dev]'
	touch $@ .venv/book .venv/pdf

book: .venv/book ## Build the book into _build/html
	$(BIN)/jupyter-book build . --quiet --warningiserror --keep-going
	@echo "The book is built. Read it with 'make serve', which prints its address."

test: .venv/dev ## Run everything: linters, types, tests, chapters, claims, book, browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	rm -rf _build/html _build/.doctrees
	$(MAKE) book
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder
	$(BIN)/pytest -n auto --dist loadfile -p no:cacheprovider --nbval --nbval-current-env --nbval-cell-timeout=60 \
	  --nbval-kernel-startup-timeout=180 --nbval-sanitize-with tests/book/sanitize.cfg book
	$(BIN)/bncourse claims check

check: .venv/dev ## Run what a developer runs between edits, under two minutes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist loadfile -m 'not slow and not browser and not install'

# With the machine's own Python, torch and triton: a machine with a GPU may have no network to make .venv from.
gpu: ## Test the kernels on this machine's GPU
	$(PYTHON) scripts/check_gpu.py

pdf: book .venv/pdf ## Print the whole book into _build/bncourse.pdf
	$(BIN)/python scripts/print_book.py

zip: export ## Pack the notebooks, to run with no repository, into _build/bncourse-notebooks.zip
	$(BIN)/python scripts/zip_notebooks.py

outputs: .venv/dev ## Execute every chapter and store its outputs
	$(BIN)/python scripts/store_outputs.py

export: book ## Write plain copies of the notebooks for Colab and Binder into _build/export
	$(BIN)/python scripts/export_notebooks.py

notebooks: .venv/dev book ## Open copies of the chapters in JupyterLab, for a reader to work in
	$(BIN)/python scripts/copy_notebooks.py
	$(BIN)/jupyter lab notebooks

serve: book ## Serve the book on this machine
	$(PYTHON) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

# Needs Node.js 20 and npm, so it is no part of the tests.
lighthouse: book ## Measure the site with Lighthouse and record its scores
	npm ci --prefix scripts/lighthouse
	node scripts/lighthouse/run.mjs

lock: .venv/dev ## Choose the newest versions in range and write them to requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header --upgrade \
	  pyproject.toml -o requirements.lock

clean: ## Remove what was built, and keep the environment
	rm -rf _build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
