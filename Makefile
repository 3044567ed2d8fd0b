# Two commands: `make run` runs the pipeline on a made-up catalog, `make test` runs every check.
# Both install what they need into the active Python environment first.

PYTHON ?= python3

.PHONY: run test install-run install-test

run: install-run
	$(PYTHON) pipeline.py run

test: install-test
	ruff check .
	ruff format --check .
	pyright
	$(PYTHON) -m pytest

install-run:
	$(PYTHON) -m pip install --quiet --editable ".[run]"

install-test:
	$(PYTHON) -m pip install --quiet --editable ".[run,test]"
