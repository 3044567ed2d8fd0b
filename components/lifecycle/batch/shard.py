"""A shard of a catalog predicted: its codes, their detail, and what its report counts."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from components.core.artifacts import write_json, write_manifest
from components.core.configuration import Accelerator
from components.data.prediction_files import DETAIL, file_name, prediction_rows
from components.data.tables.findings import Finding
from components.lifecycle.batch.plan import QUARANTINE, read_plan, read_shard
from components.lifecycle.catalog import predicted, with_images
from components.lifecycle.detail import detail_rows
from components.lifecycle.model import load_model
from components.preprocess.catalog.quarantine import write_findings

COUNTS, CODES = "counts.json", "predictions"


def run_shard(
    ensemble_model: Path,
    new_products: Path,
    number: int,
    images: str,
    *,
    device: Accelerator,
    predictions: Path,
) -> None:
    """Predicts one shard; its images are read from where the catalog has them.

    Args:
        images: a path or URI of a folder or a zip; "" for none.

    Raises:
        InputError: the model or the products are damaged, or the images cannot be read.
    """
    plan, records = read_plan(new_products), read_shard(new_products, number)
    model = load_model(ensemble_model, device=device)
    found: list[Finding] = []
    classes, sure, blind = np.zeros(len(model.classes), np.int64), 0.0, 0
    predictions.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory()))
        part = with_images(records, images if records else "", model.preprocess, scratch)
        rows = stack.enter_context(
            prediction_rows(predictions / file_name(model.document, CODES), model.document)
        )
        detail = stack.enter_context(detail_rows(predictions / DETAIL, model))
        for table, answers in predicted(model, part, model.preprocess, found):
            rows.write(table, answers.codes)
            detail.write(table, answers)
            classes += np.bincount(answers.pred_probs.argmax(axis=1), minlength=len(classes))
            sure += float(answers.pred_probs.max(axis=1).sum(dtype=np.float64))
            blind += int(np.count_nonzero(answers.without_image))
    write_findings(found if images else [], predictions / QUARANTINE)
    counts = {"number": number, "products": len(records), "sure": sure, "without_image": blind}
    write_json(predictions / COUNTS, {**counts, "plan": plan.token, "classes": classes.tolist()})
    write_manifest(predictions, model=model.version)
