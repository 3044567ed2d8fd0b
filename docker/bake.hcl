# For engines with buildx: `make bake` builds all images at once and pushes them. `make images` needs no buildx.
# The Makefile sets every variable; STAGES is its list of name:packages:rooms from the table of stages.
variable "STAGES" {}
variable "REGISTRY" {}
variable "TAG" {}
variable "BASE_IMAGE" {}
variable "SOURCE" {}
variable "REVISION" {}

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
  matrix   = { row = split(" ", STAGES) }
  name     = split(":", row)[0]
  target   = "stage"
  args = {
    STAGE    = split(":", row)[0]
    PACKAGES = split(":", row)[1]
    ROOMS    = split(":", row)[2]
  }
  tags = ["${REGISTRY}/${split(":", row)[0]}:${TAG}"]
}

target "client" {
  inherits = ["common"]
  target   = "client"
  tags     = ["${REGISTRY}/client:${TAG}"]
}
