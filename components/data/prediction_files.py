"""Predictions as files: in the form of the labels file (paper, section 2), and in detail."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd

from components.core.artifacts import whole_file
from components.data.codes import defused, revived

_BREAKS = re.compile("[\t\v\f\r\n\x1c-\x1e\x85\u2028\u2029]")  # some reader ends a cell or a row there
LABELS_COLUMNS = (
    ("Integer_id", "row_id"),
    ("Image_id", "image_id"),
    ("Product_id", "product_id"),
    ("Prdtypecode", "code"),
)
DETAIL = "predictions_detail.tsv"
QUEUE = "review_queue.tsv"  # of these, what a person is asked about


class PredictionRows:
    """A file of ids and codes that grows; a code that a spreadsheet would run is written so that it does not.

    What is written is read back as it was (`components.data.codes`).

    Args:
        columns: [column, field] of the labels file, in its order; a field is row_id, image_id, product_id
            or code.
    """

    def __init__(self, file: Any, columns: Sequence[Sequence[str]], delimiter: str) -> None:
        self._fields = [field for _, field in columns]
        self._writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        self._writer.writerow(name for name, _ in columns)

    def write(self, table: pd.DataFrame, codes: Iterable[str]) -> None:
        """Appends the products of a table with their predicted codes."""
        values = [codes if field == "code" else table[field] for field in self._fields]
        self._writer.writerows(map(safe_cells, zip(*values, strict=True)))


@contextmanager
def prediction_rows(path: Path, form: Mapping[str, Any], delimiter: str = "") -> Iterator[PredictionRows]:
    """Writes a file of predictions, whole or not at all.

    Args:
        form: what preprocess found of the labels file: `labels_columns` and `delimiter`.
        delimiter: another one than the labels file's.
    """
    columns = form.get("labels_columns") or LABELS_COLUMNS
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield PredictionRows(file, columns, delimiter or form.get("delimiter") or "\t")


def read_cells(file: Path | IO[bytes]) -> pd.DataFrame:
    """A TSV of ours as a table of texts: each as it was before a cell was kept from being run."""
    table = pd.read_csv(file, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    return pd.DataFrame({name: table[name].map(revived) for name in table.columns})


def safe_cells(row: Iterable[str]) -> list[str]:
    """Cells that end no row, and that no spreadsheet runs."""
    return [defused(_BREAKS.sub(" ", value)) for value in row]


def write_predictions(
    table: pd.DataFrame, codes: Iterable[str], form: Mapping[str, Any], folder: Path, stem: str
) -> Path:
    """Writes a file of predictions and returns its path; see `file_name`.

    Args:
        codes: of the table's products, in its order.
        form: see `prediction_rows`.
    """
    path = folder / file_name(form, stem)
    with prediction_rows(path, form) as rows:
        rows.write(table, codes)
    return path


def file_name(form: Mapping[str, Any], stem: str) -> str:
    """`stem.tsv`, or `.csv` where the labels file is not delimited by tabs; `form`: see `prediction_rows`."""
    tabs = (form.get("delimiter") or "\t") == "\t"
    return f"{stem}{'.tsv' if tabs else '.csv'}"
