"""The three tasks of preprocess, compiled as the pipeline has them and run by kfp's local runner."""
# Generated functions of kfp carry no types.
# pyright: reportArgumentType=false

from pathlib import Path
from typing import Any

import pytest
from kfp import components as kfp_components
from kfp import dsl, local
from kfp.compiler import Compiler
from tiny_catalog import OUTPUTS, TinyCatalog

from components.client.cluster.settings import ClusterSettings
from components.client.graph.catalog import labeled_products
from components.client.graph.placement import Placement

SIZES = {60: 1, 30: 2, 9: 7}  # of a shard -> shards of 60 products


@dsl.pipeline(name="shards")
def shards(
    catalog_products: str,
    catalog_labels: str,
    catalog_images: str,
    preprocess_shard_size: int,
    catalog_class_names: str = "",
    catalog_corrections: str = "",
    catalog_earlier_profile: str = "",
    catalog_snapshot: str = "",
    preprocess_config: dict = {},  # noqa: B006
    denoise_folds: list[int] = [0, 1],  # noqa: B006
    seed: int = 0,
):
    given = locals()
    labeled_products(Placement(ClusterSettings(retries=0), given), given, after=[])


def files_of(folder: Path) -> dict[str, bytes]:
    paths = [path for name in OUTPUTS for path in (folder / name, *(folder / name).rglob("*"))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


@pytest.mark.slow
def test_any_number_of_shards_leaves_the_same_bytes(tmp_path: Path):
    catalog = TinyCatalog(tmp_path)
    catalog.images[catalog.image_name(catalog.rows[7])] = b"no picture"
    sources = catalog.write()
    Compiler().compile(shards, str(tmp_path / "shards.yaml"))
    run: Any = kfp_components.load_component_from_file(str(tmp_path / "shards.yaml"))
    named = {f"catalog_{name}": getattr(sources, name) for name in ("products", "labels", "images")}
    found = []
    for size, count in SIZES.items():
        root = tmp_path / f"artifacts-{size}"
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
        run(**named, preprocess_shard_size=size)
        assert len([*root.glob("*/*/preprocess-shard/prepared")]) == count
        [merged] = root.glob("*/preprocess")
        found.append(files_of(merged))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == len(OUTPUTS) + 2  # two are folders with a manifest
    assert b"not_an_image" in found[0]["quarantine"]
