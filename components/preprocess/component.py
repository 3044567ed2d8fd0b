"""The preprocess stage as Kubeflow Pipelines components."""

from typing import List, NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Output

from components.core.project import image_name


@dsl.component(base_image=image_name("preprocess"), install_kfp_package=False)
def check_parameters(
    preprocess_config: dict,
    preprocess_shard_size: int,
    denoise_folds: list[int],
    denoise_config: dict,
    denoise_keep_ids: str,
    text_fold_config: dict,
    text_configs: list[dict],
    image_fold_config: dict,
    image_configs: list[dict],
    fusion_configs: list[dict],
    fusion_folds: int,
    ensemble_config: dict,
    models_store: str,
    models_name: str,
    models_gate: dict,
    models_registries: dict,
    models_retrain: bool,
    drift_config: dict,
    alert_address: str,
    cluster_accelerator_type: str,
    cluster_accelerator_count: str,
    cluster_checkpoints: str,
    seed: int,
    graph: dict,
) -> NamedTuple(
    "Checked",
    [(name, str) for name in ("text_fold", "text", "image_fold", "image", "predict", "monitor")]  # type: ignore
    + [("text_folds", list[str])]
    + [(name, str) for name in ("weights", "keep_ids", "digest")],
):
    """Checks what a run was given before it reads a file: a run from a form passes no client.

    A task of its own, since a server's cache goes by a task's parameters: given to preprocess, any change of
    a configuration would renew preprocess, and with its outputs every other task.

    Args:
        preprocess_config: how the catalog is read and split.
        preprocess_shard_size: products of a shard of the catalog, at most.
        denoise_folds: the folds' numbers.
        denoise_config: how many label issues are removed.
        denoise_keep_ids: list of products that denoising keeps, "" for none.
        text_fold_config: the text configuration of the folds.
        text_configs: the text configurations.
        image_fold_config: the image configuration of the folds.
        image_configs: the image configurations.
        fusion_configs: the fusion configurations.
        fusion_folds: folds of the validation split.
        ensemble_config: how the members vote.
        models_store: where models are stored, "" for nowhere.
        models_name: what the model is called there.
        models_gate: when a model replaces the champion.
        models_registries: who hears of it.
        models_retrain: trains even what a server's cache holds.
        drift_config: what counts as drift.
        alert_address: of the pipelines' pages, "" for none.
        cluster_accelerator_type: the accelerator that trainings ask for, "" for a CPU.
        cluster_accelerator_count: how many.
        cluster_checkpoints: folder on a volume, which is tested for writing; "" for none.
        seed: seed of every random draw.
        graph: what the run was compiled from: preset and images.

    Returns:
        The accelerator that the tasks of each loop ask for, none where no configuration of it uses one; that
        of the prediction, which asks for one where a classifier was trained on one; where models are stored,
        the same for the monitor; which folds each task of the loop over text folds trains; digests of the
        contents of weights, with the run's id where that is to train again, and of the products kept, by
        which a server's cache knows them; and where models are stored, the digest of all that a model follows
        from beside its products.
    """
    given = dict(locals())

    from components.core.environment import run_id
    from components.core.parameters import check_checkpoints, parse_values, text_fold_groups, wants_gpu
    from components.core.stage import process_of
    from components.preprocess.training_digest import content_digest, settings_digest, weights_digest

    with process_of("preprocess"):
        parsed = parse_values(given)
        check_checkpoints(cluster_checkpoints)
        again = run_id() if models_retrain else ""
        digests = [f"{weights_digest(given)}{again}", content_digest([denoise_keep_ids])]
        digests.append(settings_digest(given) if models_store else "")
    loops = [("text", [text_fold_config]), ("text", text_configs)]
    loops += [("image", [image_fold_config]), ("image", image_configs)]
    wanted = [wants_gpu(*loop) for loop in loops]
    wanted.append(wanted[1] or wanted[3])  # what was trained on a GPU predicts on one
    wanted.append(wanted[-1] and models_store != "")  # only a stored champion predicts before any training
    groups = text_fold_groups(text_fold_config, parsed["denoise_folds"])
    return (*(cluster_accelerator_type if each else "" for each in wanted), groups, *digests)


@dsl.component(base_image=image_name("preprocess"), install_kfp_package=False)
def preprocess(
    records: Input[Dataset],
    prepared: Input[List[Dataset]],
    catalog_earlier_profile: str,
    config: dict,
    folds: list[int],
    seed: int,
    catalog_snapshot: str,
    products: Output[Dataset],
    images: Output[Dataset],
    quarantine: Output[Dataset],
    profile: Output[Dataset],
    preprocess_metrics: Output[Metrics],
    preprocess_report: Output[HTML],
):
    """Puts the shards of the labeled products together, checks and splits them, and packs their images.

    A task of its own, since a server's cache goes by a task's parameters and the names of its inputs: the
    folds, the seed and an earlier profile renew this task alone, and decode no image again.

    Args:
        records: the catalog cut into shards.
        prepared: what every shard's task left.
        catalog_earlier_profile: the profile that an earlier run left, a mounted path or a URI, to tell drift
            by; "" for none.
        config: how the catalog is split; see PreprocessConfig.
        folds: the folds' numbers, [0, 1, 2, 3].
        seed: seed of the split.
        catalog_snapshot: the state of the catalog, such as its date; another one reads the profile afresh.
        products: the product table (Parquet).
        images: the image store (Arrow shards).
        quarantine: every row that was not taken as it came (TSV).
        profile: counts of classes, texts and pictures (JSON), for a later run to compare with.
        preprocess_metrics: counts.
        preprocess_report: products per class and split, texts, images, what was quarantined, drift.
    """
    from functools import partial

    from components.core.stage import Result, paths_of, run_stage
    from components.data.uris import state_of
    from components.preprocess.config import PARAMETERS
    from components.preprocess.run import run_merge

    inputs = paths_of(records=records, prepared=prepared)
    outputs = paths_of(products=products, images=images, quarantine=quarantine, profile=profile)

    def work() -> Result:
        parsed = PARAMETERS["preprocess_config"](config)
        count = PARAMETERS["denoise_folds"](folds)
        settings: dict = {"folds": count, "seed": seed, "earlier_profile": catalog_earlier_profile}
        return run_merge(**inputs, config=parsed, **settings, **outputs)

    earlier = {"uri": catalog_earlier_profile, "earlier_profile": partial(state_of, catalog_earlier_profile)}
    settings = {"config": config, "folds": folds, "seed": seed, "snapshot": catalog_snapshot}
    run_stage(
        "preprocess",
        work,
        label="merge",
        inputs={**inputs, **earlier, **settings},
        outputs=outputs,
        metrics=preprocess_metrics,
        report=preprocess_report,
    )


@dsl.component(base_image=image_name("preprocess"), install_kfp_package=False)
def preprocess_new(
    catalog_products: str,
    catalog_labels: str,
    catalog_images: str,
    catalog_test_products: str,
    catalog_test_images: str,
    catalog_test_labels: str,
    config: dict,
    catalog_snapshot: str,
    products: Input[Dataset],
    profile: Input[Dataset],
    new_products: Output[Dataset],
    new_images: Output[Dataset],
    new_quarantine: Output[Dataset],
    preprocess_new_metrics: Output[Metrics],
    preprocess_new_report: Output[HTML],
):
    """Reads, cleans, checks and packs the products to categorize.

    A task of its own, since a server's cache goes by a task's parameters and the names of its inputs: read by
    preprocess, another test file would renew the labeled products too, and with them every training. Here it
    renews this task and what predicts its products.

    Args:
        catalog_products: the products file, whose rows without a code are to be categorized where no labels
            file is named.
        catalog_labels: the labels file; like all of these a mounted path or a URI, "" for none.
        catalog_images: a folder or a zip of images.
        catalog_test_products: the products to categorize.
        catalog_test_images: their images; "" where they lie among the others.
        catalog_test_labels: their codes, where they are known.
        config: how the catalog is read; see PreprocessConfig.
        catalog_snapshot: the state of the catalog, such as its date; another one reads the files afresh.
        products: the labeled products, whose ids and classes the new ones must fit.
        profile: theirs, to tell drift by.
        new_products: the product table (Parquet); empty where there are none.
        new_images: the image store (Arrow shards).
        new_quarantine: every row that was not taken as it came (TSV).
        preprocess_new_metrics: counts.
        preprocess_new_report: texts, images, what was quarantined, how they differ from the labeled products.
    """
    given = dict(locals())

    from functools import partial

    from components.core.stage import Result, paths_of, run_stage
    from components.data.uris import state_of
    from components.preprocess.config import PARAMETERS, sources_of
    from components.preprocess.run import run_preprocess_new

    sources = sources_of(given)
    inputs = paths_of(products=products, profile=profile)
    outputs = paths_of(new_products=new_products, new_images=new_images, new_quarantine=new_quarantine)

    def work() -> Result:
        return run_preprocess_new(sources, PARAMETERS["preprocess_config"](config), **inputs, **outputs)

    files = {f"file_{name}": partial(state_of, uri) for name, uri in sources.unlabeled.items()}
    settings = {"uris": sources.unlabeled, "config": config, "snapshot": catalog_snapshot}
    run_stage(
        "preprocess",
        work,
        label="new products",
        inputs={**inputs, **files, **settings},
        outputs=outputs,
        metrics=preprocess_new_metrics,
        report=preprocess_new_report,
    )
