"""The preprocess stage as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Metrics, Output

from components.container import image_name


@dsl.component(base_image=image_name("preprocess"), install_kfp_package=False)
def preprocess(
    products_uri: str,
    labels_uri: str,
    images_uri: str,
    test_products_uri: str,
    test_images_uri: str,
    test_labels_uri: str,
    class_names_uri: str,
    corrections_uri: str,
    config: dict,
    folds: list,
    seed: int,
    snapshot: str,
    products: Output[Dataset],
    images: Output[Dataset],
    quarantine: Output[Dataset],
    metrics: Output[Metrics],
    report: Output[HTML],
):
    """Reads, cleans, checks, splits and packs a catalog.

    Args:
        products_uri: the products file; like all of these a mounted path or a URI, "" for none.
        labels_uri: the labels file.
        images_uri: a folder or a zip of images.
        test_products_uri: the products to categorise.
        test_images_uri: their images; "" where they lie among the others.
        test_labels_uri: their codes, where they are known.
        class_names_uri: JSON of code to name.
        corrections_uri: TSV of product_id and code: labels that a person put right.
        config: how the catalog is read and split; see PreprocessConfig.
        folds: the folds' numbers, [0, 1, 2, 3].
        seed: seed of the split.
        snapshot: names the state of the catalog, such as its date; another one reads the files afresh.
        products: the product table (Parquet).
        images: the image store (Arrow shards).
        quarantine: every row that was not taken as it came (TSV).
        metrics: counts.
        report: products per class and split, texts, images, what was quarantined.
    """
    from pathlib import Path

    from components.catalog import read_products
    from components.config import parse_config
    from components.image_store import ImageStore
    from components.preprocess.config import PreprocessConfig, Sources, fold_count
    from components.preprocess.preprocess import run_preprocess
    from components.report import safe_report
    from components.reports.preprocess import preprocess_report
    from components.stage import run_stage

    sources = Sources(
        products_uri,
        labels_uri,
        images_uri,
        test_products_uri,
        test_images_uri,
        test_labels_uri,
        class_names_uri,
        corrections_uri,
    )
    outputs = {
        "products": Path(products.path),
        "images": Path(images.path),
        "quarantine": Path(quarantine.path),
    }

    drawn = {**outputs, "report": Path(report.path)}

    def work() -> dict[str, float]:
        settings = {**config, "folds": fold_count(folds), "seed": seed}
        parsed = parse_config(PreprocessConfig, settings, where="preprocess configuration")
        counts = run_preprocess(sources, parsed, **outputs)
        safe_report(
            lambda: preprocess_report(
                read_products(outputs["products"]), ImageStore(outputs["images"]), outputs["quarantine"]
            ),
            drawn["report"],
        )
        return counts

    files = {name: Path(uri) for name, uri in vars(sources).items() if uri and Path(uri).exists()}
    inputs = {
        "uris": vars(sources),
        "config": config,
        "folds": folds,
        "seed": seed,
        "snapshot": snapshot,
        **files,
    }
    for name, value in run_stage("preprocess", work, inputs=inputs, outputs=drawn).items():
        metrics.log_metric(name, value)
