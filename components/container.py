"""The images' names: one a stage, registry and tag chosen when the pipeline is compiled."""

STAGES = ("preprocess", "denoise", "text", "image", "fusion", "ensemble", "evaluate")
NAME = "product-categorisation"
REGISTRY = "ghcr.io/product-categorisation"
TAG = "0.1.0"


def image_name(stage: str, registry: str = REGISTRY, tag: str = TAG) -> str:
    """The image of a stage, `registry/stage:tag`."""
    return f"{registry.rstrip('/')}/{stage}:{tag}"
