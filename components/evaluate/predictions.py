"""Predictions in the form of the labels file (paper, section 2), in the test file's order."""

import csv
import re
from pathlib import Path

import numpy as np

from components.core.artifacts import whole_file
from components.data.codes import defused
from components.data.products import Products

_BREAKS = re.compile("[\t\v\f\r\n\x1c-\x1e\x85\u2028\u2029]")  # some reader ends a cell or a row there
LABELS_COLUMNS = (
    ("Integer_id", "row_id"),
    ("Image_id", "image_id"),
    ("Product_id", "product_id"),
    ("Prdtypecode", "code"),
)


def write_predictions(products: Products, labels: np.ndarray, folder: Path, stem: str) -> Path:
    """Writes `folder/stem.tsv`, or `.csv` where the labels file is not delimited by tabs.

    The columns are those of the catalog's own labels file: ids and codes alone. A code that a spreadsheet
    would run is written so that it does not, and read back as it was (`components.data.codes`).

    Args:
        labels: predicted labels of the test products, (rows of the test split,), in the table's order.
    """
    columns = products.metadata.get("labels_columns") or LABELS_COLUMNS
    delimiter = products.metadata.get("delimiter") or "\t"
    test = products.table.iloc[products.rows("test")]
    codes = np.array(products.classes, dtype=object)[labels]
    values = [codes if field == "code" else test[field].to_numpy(dtype=object) for _, field in columns]
    tabs = delimiter == "\t"
    path = folder / f"{stem}{'.tsv' if tabs else '.csv'}"
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(name for name, _ in columns)
        writer.writerows(
            [defused(_BREAKS.sub(" ", value)) for value in row] for row in zip(*values, strict=True)
        )
    return path
