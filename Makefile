# Two commands: `make run` runs the pipeline on a made-up catalog, `make test` runs every check that needs no
# container. Both install what they need into the active Python environment first.
# For a cluster: `make images` and `make push`; `make test-containers` runs the pipeline in the images.

PYTHON ?= python3
REGISTRY ?= ghcr.io/product-categorisation
TAG ?= 0.1.0
# Pin it for a release: python:3.11-slim-bookworm@sha256:...
BASE_IMAGE ?= python:3.11-slim-bookworm
SOURCE ?=
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
# In the Dockerfile's order. The last one, `client`, registers schedules from inside the cluster.
IMAGES = ensemble evaluate preprocess denoise text image fusion client

.PHONY: run test test-containers images push pictures install-run install-test

run: install-run
	$(PYTHON) pipeline.py run

test: install-test
	ruff check .
	ruff format --check .
	pyright
	$(PYTHON) -m pytest -m "not containers"

test-containers: install-test
	$(PYTHON) -m pytest -m containers

images:
	for image in $(IMAGES); do \
	  docker build --file docker/Dockerfile --target $$image --tag $(REGISTRY)/$$image:$(TAG) \
	    --platform linux/amd64 --build-arg BASE_IMAGE=$(BASE_IMAGE) \
	    --build-arg SOURCE=$(SOURCE) --build-arg REVISION=$(REVISION) . || exit 1; \
	done

push:
	for image in $(IMAGES); do docker push $(REGISTRY)/$$image:$(TAG) || exit 1; done

# The README's pictures, of the reports of `make run`; needs Chromium.
pictures: install-test
	$(PYTHON) tests/support/pictures.py runs/sample

install-run:
	$(PYTHON) -m pip install --quiet --editable ".[run]"

install-test:
	$(PYTHON) -m pip install --quiet --editable ".[run,test]"
