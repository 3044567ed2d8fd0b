"""The preprocess stage as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Metrics, Output

from components.core.project import image_name


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
    earlier_profile_uri: str,
    config: dict,
    folds: list[int],
    seed: int,
    snapshot: str,
    products: Output[Dataset],
    images: Output[Dataset],
    quarantine: Output[Dataset],
    profile: Output[Dataset],
    metrics: Output[Metrics],
    report: Output[HTML],
):
    """Reads, cleans, checks, splits and packs a catalog.

    Args:
        products_uri: the products file; like all of these a mounted path or a URI, "" for none.
        labels_uri: the labels file.
        images_uri: a folder or a zip of images.
        test_products_uri: the products to categorize.
        test_images_uri: their images; "" where they lie among the others.
        test_labels_uri: their codes, where they are known.
        class_names_uri: JSON of code to name.
        corrections_uri: TSV of product_id and code: labels that a person put right.
        earlier_profile_uri: the profile that an earlier run left, to tell drift by; "" for none.
        config: how the catalog is read and split; see PreprocessConfig.
        folds: the folds' numbers, [0, 1, 2, 3].
        seed: seed of the split.
        snapshot: names the state of the catalog, such as its date; another one reads the files afresh.
        products: the product table (Parquet).
        images: the image store (Arrow shards).
        quarantine: every row that was not taken as it came (TSV).
        profile: counts of classes, texts and pictures (JSON), for a later run to compare with.
        metrics: counts.
        report: products per class and split, texts, images, what was quarantined, drift.
    """
    from pathlib import Path

    from components.core.configuration import parse_config
    from components.core.stage import run_stage
    from components.data.image_store import ImageStore
    from components.data.products import read_products
    from components.preprocess.config import PreprocessConfig, Sources, fold_count
    from components.preprocess.profile.drift import catalog_drift
    from components.preprocess.profile.profile import fetch_profile, write_profile
    from components.preprocess.report import preprocess_report
    from components.preprocess.run import run_preprocess
    from components.reports.page import safe_report

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

    drawn = {**outputs, "profile": Path(profile.path), "report": Path(report.path)}

    def work() -> dict[str, float]:
        parsed = parse_config(PreprocessConfig, config, where="preprocess configuration")
        earlier = fetch_profile(earlier_profile_uri) if earlier_profile_uri else None
        counts = run_preprocess(sources, parsed, folds=fold_count(folds), seed=seed, **outputs)
        table = read_products(outputs["products"])
        made = write_profile(table, ImageStore(outputs["images"]), drawn["profile"])

        def draw() -> str:
            drift = catalog_drift(made, earlier, table.metadata["class_names"]) if earlier else None
            return preprocess_report(table, made, outputs["quarantine"], drift)

        safe_report(draw, drawn["report"])
        return counts

    uris = {**vars(sources), "earlier_profile": earlier_profile_uri}
    files = {name: Path(uri) for name, uri in uris.items() if uri and Path(uri).exists()}
    inputs = {
        "uris": uris,
        "config": config,
        "folds": folds,
        "seed": seed,
        "snapshot": snapshot,
        **files,
    }
    for name, value in run_stage("preprocess", work, inputs=inputs, outputs=drawn).items():
        metrics.log_metric(name, value)
