"""The tasks of preprocess before its shards are merged, as Kubeflow Pipelines components."""

from typing import List

from kfp import dsl
from kfp.dsl import Dataset, Input, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("preprocess"), install_kfp_package=False)
def preprocess_read(
    catalog_products: str,
    catalog_labels: str,
    catalog_images: str,
    catalog_class_names: str,
    catalog_corrections: str,
    config: dict,
    shard_size: int,
    catalog_snapshot: str,
    records: Output[Dataset],
    read_quarantine: Output[Dataset],
) -> List[int]:
    """Reads the tables of the labeled products once, and cuts them into shards.

    A server's cache goes by a task's parameters and the names of its inputs: another table, even of
    corrections, renews this task and with it every shard. On this machine shards go by what they read.

    Args:
        catalog_products: the products file; like all of these a mounted path or a URI, "" for none.
        catalog_labels: the labels file.
        catalog_images: a folder or a zip of images, which must be there.
        catalog_class_names: JSON or a table of code, name and parent.
        catalog_corrections: a table of product_id and code: labels that a person put right.
        config: how the catalog is read; see PreprocessConfig.
        shard_size: products of a shard, at most.
        catalog_snapshot: the state of the catalog, such as its date; another one reads the files afresh.
        records: the shards, a file for each, and what is known of the whole catalog.
        read_quarantine: rows that were not taken as they came, as far as the tables tell (TSV).

    Returns:
        The shards' numbers, one at least.
    """
    given = dict(locals())

    from functools import partial

    from components.core.stage import Result, paths_of, run_stage
    from components.data.uris import state_of
    from components.preprocess.config import PARAMETERS, sources_of
    from components.preprocess.run import run_read

    sources, outputs = sources_of(given), paths_of(records=records, read_quarantine=read_quarantine)

    def work() -> Result:
        parsed = PARAMETERS["preprocess_config"](config)
        size = PARAMETERS["preprocess_shard_size"](shard_size)
        numbers = run_read(
            sources, parsed, size=size, records=outputs["records"], quarantine=outputs["read_quarantine"]
        )
        return Result({"shards": len(numbers)})

    files = {name: partial(state_of, uri) for name, uri in sources.labeled.items() if name != "images"}
    settings = {"uris": sources.labeled, "config": config, "size": shard_size, "snapshot": catalog_snapshot}
    cut = run_stage("preprocess", work, label="read", inputs={**files, **settings}, outputs=outputs)
    return list(range(int(cut["shards"])))


@dsl.component(base_image=image_name("preprocess"), install_kfp_package=False)
def preprocess_shard(
    records: Input[Dataset],
    number: int,
    catalog_images: str,
    config: dict,
    catalog_snapshot: str,
    prepared: Output[Dataset],
):
    """Cleans the texts of one shard's products, decodes their images, and hashes both.

    Args:
        records: the shards.
        number: of this one.
        catalog_images: a folder or a zip of images, a mounted path or a URI.
        config: how the catalog is read; see PreprocessConfig.
        catalog_snapshot: the state of the catalog, such as its date; another one reads the images afresh.
        prepared: the shard's products and images, and what was found of them.
    """
    from functools import partial
    from pathlib import Path

    from components.core.stage import Result, paths_of, run_stage
    from components.data.uris import state_of
    from components.preprocess.config import PARAMETERS
    from components.preprocess.run import run_shard
    from components.preprocess.shards.cut import read_by_shard

    folder, outputs, which = Path(records.path), paths_of(prepared=prepared), int(number)

    def work() -> Result:
        run_shard(folder, which, catalog_images, PARAMETERS["preprocess_config"](config), **outputs)
        return Result({})

    files = {"read": partial(read_by_shard, folder, which), "images": partial(state_of, catalog_images)}
    settings = {"uri": catalog_images, "config": config, "snapshot": catalog_snapshot}
    run_stage("preprocess", work, label=f"shard {which}", inputs={**files, **settings}, outputs=outputs)
