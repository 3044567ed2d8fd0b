# Two commands: `make run` runs the pipeline on a made-up catalog, `make test` runs every check.
# Both install what they need into the active Python environment first.

PYTHON ?= python3

.PHONY: run test pictures install-run install-test

run: install-run
	$(PYTHON) pipeline.py run

test: install-test
	ruff check .
	ruff format --check .
	pyright
	$(PYTHON) -m pytest

# The README's pictures, of the reports of `make run`; needs Chromium.
pictures: install-test
	$(PYTHON) tests/pictures.py runs/sample

install-run:
	$(PYTHON) -m pip install --quiet --editable ".[run]"

install-test:
	$(PYTHON) -m pip install --quiet --editable ".[run,test]"
