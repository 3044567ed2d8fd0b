"""A server's run as a folder on this machine, laid out as a run on this machine leaves it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kfp import Client
from kfp_server_api import V2beta1Run

from components.client.cluster.schedule import ENDED
from components.client.cluster.store import Store
from components.client.local.finished_run import write_record
from components.client.local.reports import LISTS, link_reports
from components.core.artifacts import MANIFEST, read_manifest, whole_file
from components.core.errors import InputError
from components.core.reading import read_json
from components.evaluate.lineage import LINEAGE

# Component -> the inputs of evaluate whose folders its tasks wrote.
MADE_BY = {
    "preprocess": "images",
    "preprocess_new": "new_products",
    "denoise": "label_issues",
    "text": "text",
    "image": "image",
    "fusion": "members",
    "ensemble": "ensemble",
    "predict": "predictions",
}

# Inputs of evaluate -> where a run on this machine leaves them, among its artifacts.
PRODUCTS = {
    "products": "denoise/cleaned",
    "images": "preprocess/images",
    "new_products": "preprocess-new/new_products",
}


def fetch_run(client: Client, store: Store, identifier: str, folder: Path) -> list[str]:
    """Copies a run's figures, reports and lists into a folder that `read_run` reads.

    Returns:
        What the run's lineage names and the store does not hold.

    Raises:
        InputError: the server knows no such run, it goes on, or its results are not in the store or damaged.
    """
    run = client.get_run(identifier)
    if run.state not in ENDED:
        raise InputError(
            f"run {identifier} ({run.display_name}) is {run.state}: look again when it has ended"
        )
    results = store.results(identifier)
    if results is None:
        raise InputError(
            f"run {identifier} ({run.display_name}) ended as {run.state} and has no results under "
            f"{store.root}: it did not get to its evaluation or skipped it, or its pipeline root is another "
            "one: name it with --artifacts"
        )
    for name in store.names(results):
        _copy(store, f"{results}/{name}", folder / name)
    read_manifest(folder)
    _copy(store, f"{results}/report.html", folder / "reports" / "evaluate.html")
    missing = list(_fetch_inputs(store, store.read_json(f"{results}/{LINEAGE}").get("inputs", {}), folder))
    link_reports(folder, (folder / "reports").glob("*.html"))
    took: Any = run.finished_at - run.created_at  # type: ignore[operator]
    record = {
        "name": run.display_name,
        "parameters": _parameters(client, run),
        "seconds": took.total_seconds(),
    }
    write_record(folder, **record)
    return missing


def fetch_products(store: Store, folder: Path) -> None:
    """Copies the products of a run that `fetch_run` copied, and their pictures, as a run here leaves them.

    Raises:
        InputError: the run's lineage does not name them, or the store does not hold them.
    """
    inputs = read_json(folder / LINEAGE, "where a run's artifacts lie")["inputs"]
    for name, place in PRODUCTS.items():
        path = store.path(inputs.get(name) or "")
        if path is None:
            raise InputError(f"{folder / LINEAGE}: does not say where {name} lie under {store.root}")
        store.copy(path, folder / "artifacts" / "server" / place)
        if name == "new_products":
            beside = path.rsplit("/", 1)[0] + "/new_images"
            store.copy(beside, folder / "artifacts" / "server" / "preprocess-new" / "new_images")


def _fetch_inputs(store: Store, inputs: dict[str, Any], folder: Path) -> Iterator[str]:
    for stage, name in MADE_BY.items():
        uris = inputs.get(name) or []
        if not uris:
            yield f"the report of {stage}: {LINEAGE} does not name {name}"
        for uri in [uris] if isinstance(uris, str) else uris:
            path = store.path(uri)
            if path is None:
                yield f"{uri}: not under {store.root}"
                continue
            task = path.rsplit("/", 1)[0]
            wanted = {
                f"{stage}_report": f"reports/{_called(store, stage, path)}.html",
                **LISTS.get(stage, {}),
            }
            for output, target in wanted.items():
                if not _copy(store, f"{task}/{output}", folder / target):
                    yield f"{task}/{output}"


def _called(store: Store, stage: str, path: str) -> str:
    name = store.read_json(f"{path}/{MANIFEST}").get("name") if stage in ("text", "image") else None
    return f"{stage}-{Path(name).name}" if name else stage.replace("_", "-")


def _copy(store: Store, source: str, target: Path) -> bool:
    content = store.read(source)
    if content is None:
        return False
    with whole_file(target) as temporary:
        temporary.write_bytes(content)
    return True


def _parameters(client: Client, run: V2beta1Run) -> dict[str, Any]:
    """Every parameter of the pipeline and the value it had in the run."""
    used = run.pipeline_version_reference
    spec: Any = run.pipeline_spec
    if used:
        spec = client.get_pipeline_version(used.pipeline_id, used.pipeline_version_id).pipeline_spec
    # Beside a platform's document the pipeline's own is one level deeper.
    spec = spec.get("pipeline_spec", spec)
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    defaults = {name: one.get("defaultValue") for name, one in known.items()}
    return {**defaults, **((run.runtime_config and run.runtime_config.parameters) or {})}
