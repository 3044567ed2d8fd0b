# Two commands: `make run` runs the pipeline on a made-up catalog, `make test` runs every check that needs no
# container. Both install what they need into the active Python environment first.
# For a cluster: `make images` and `make push`; `make test-containers` runs the pipeline in the images.

PYTHON ?= python3
# What components/core/project.py says; of STAGES, the images but for `client`, the columns name:packages:rooms.
PROJECT = $(shell $(PYTHON) -c 'from components.core import project; print($(1))')
REGISTRY ?= $(call PROJECT,project.REGISTRY)
TAG ?= $(call PROJECT,project.TAG)
STAGES = $(call PROJECT,*(image.row for image in project.IMAGES))
# Pin it for a release: python:3.11-slim-bookworm@sha256:...
BASE_IMAGE ?= python:3.11-slim-bookworm
SOURCE ?=
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
# The environment of the tests of serving: what it has not itself, it takes from that of $(PYTHON).
SERVING = build/serving
RESOURCES = manifests/overlays/pipeline-resources
NAMESPACE ?= kubeflow
PIPELINE ?= train
BUILD = docker build --file docker/Dockerfile --platform linux/amd64 --build-arg BASE_IMAGE=$(BASE_IMAGE) \
  --build-arg SOURCE=$(SOURCE) --build-arg REVISION=$(REVISION)

.PHONY: run test test-serving test-containers images push bake pipeline-resources docs pictures install-run \
  install-test install-serving

run: install-run
	$(PYTHON) pipeline.py run

test: install-test
	ruff check .
	ruff format --check .
	pyright
	lint-imports
	yamllint --strict .github manifests .pre-commit-config.yaml
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m "not containers" --numprocesses auto --maxprocesses 4 --dist loadfile
	$(MAKE) test-serving

# What needs KServe, and with it pandas below 3, or a registry's client; and that packages are read there too.
test-serving: install-serving
	OMP_NUM_THREADS=1 $(SERVING)/bin/python -m pytest -m "not containers" tests/serving \
	  tests/lifecycle/test_registries.py tests/lifecycle/test_model.py

test-containers: install-test
	$(PYTHON) -m pytest tests/deploy/containers

# The image `client` registers schedules from inside the cluster.
images:
	$(BUILD) --target client --tag $(REGISTRY)/client:$(TAG) .
	for stage in $(STAGES); do \
	  name=$${stage%%:*}; rooms=$${stage##*:}; packages=$${stage#*:}; packages=$${packages%:*}; \
	  $(BUILD) --target stage --build-arg STAGE=$$name --build-arg PACKAGES=$$packages \
	    --build-arg ROOMS=$$rooms --tag $(REGISTRY)/$$name:$(TAG) . || exit 1; \
	done

push:
	for stage in $(STAGES) client; do docker push $(REGISTRY)/$${stage%%:*}:$(TAG) || exit 1; done

# `images` and `push` in one, all at once, where buildx is installed.
bake:
	REGISTRY="$(REGISTRY)" TAG="$(TAG)" STAGES="$(STAGES)" BASE_IMAGE="$(BASE_IMAGE)" SOURCE="$(SOURCE)" \
	  REVISION="$(REVISION)" docker buildx bake --file docker/bake.hcl --push

# The pipeline as Kubernetes resources, for clusters that store pipelines there.
pipeline-resources:
	$(PYTHON) pipeline.py compile --pipeline $(PIPELINE) --preset paper --registry $(REGISTRY) --tag $(TAG) --manifest \
	  --namespace $(NAMESPACE) --volume product-categorization --secret product-categorization \
	  --output $(RESOURCES)/pipeline.yaml

# The reference of all configurations.
docs: install-test
	$(PYTHON) -m components.client.configuration_page

# The README's pictures, of the reports of `make run`; needs Chromium.
pictures: install-test
	$(PYTHON) tests/support/pictures.py runs/sample

install-run:
	@if $(PYTHON) -c 'from importlib.util import find_spec; exit(not (find_spec("kfp") and find_spec("torch")))'; then quiet=--quiet; else quiet=; \
	  echo 'Installing what the pipeline computes with: torch with CUDA is most of it, 6 GB on disk, minutes to fetch.'; \
	  echo 'Without an NVIDIA GPU: pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu, first.'; \
	fi; $(PYTHON) -m pip install $$quiet --editable ".[run]"

install-test:
	$(PYTHON) -m pip install --quiet --require-hashes --no-deps --requirement tests/constraints.txt
	$(PYTHON) -m pip install --quiet --no-deps --editable .

# Over what `make test` has installed.
install-serving:
	$(PYTHON) -m venv --without-pip $(SERVING)
	$(PYTHON) -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
	  > "$$($(SERVING)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/others.pth"
	$(PYTHON) -m pip --python $(SERVING)/bin/python install --quiet --require-hashes --no-deps \
	  --requirement tests/constraints-serving.txt
