# For engines with buildx; `make images` needs none. From the repository's root:
#   REGISTRY=registry/team TAG=1.0.0 docker buildx bake -f docker/bake.hcl --push
variable "REGISTRY" { default = "ghcr.io/product-categorisation" }
variable "TAG" { default = "0.1.0" }
# Pin it for a release: python:3.11-slim-bookworm@sha256:...
variable "BASE_IMAGE" { default = "python:3.11-slim-bookworm" }
variable "SOURCE" { default = "" }
variable "REVISION" { default = "" }

group "default" {
  targets = ["stage", "client"]
}

target "common" {
  context    = "."
  dockerfile = "docker/Dockerfile"
  platforms  = ["linux/amd64"]
  args = {
    BASE_IMAGE = BASE_IMAGE
    SOURCE     = SOURCE
    REVISION   = REVISION
  }
}

target "stage" {
  inherits = ["common"]
  name     = stage
  matrix = {
    stage = ["preprocess", "denoise", "text", "image", "fusion", "ensemble", "evaluate"]
  }
  target = stage
  tags   = ["${REGISTRY}/${stage}:${TAG}"]
}

target "client" {
  inherits = ["common"]
  target   = "client"
  tags     = ["${REGISTRY}/client:${TAG}"]
}
