"""Label issues as files that a person fills in: a TSV, and the same as a workbook of texts."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from components.core.artifacts import whole_file, write_manifest
from components.data.codes import defused
from components.data.decisions import DECISION_COLUMNS, Decision
from components.data.products import Products
from components.data.tables.text_workbook import write_text_workbook
from components.denoise.issues import LabelIssues
from components.reports.page import ISSUES

WORKBOOK = "label_issues.xlsx"


def issues_table(products: Products, issues: LabelIssues) -> pd.DataFrame:
    """Flagged products, worst first, with empty decisions.

    Columns: product_id, given_code, suggested_code, score, removed, title, given_name, suggested_name,
    decision, and code, which is the suggested one until somebody writes another.
    """
    classes, names = np.array(products.classes, dtype=object), products.metadata.get("class_names", {})
    given, suggested = classes[products.labels[issues.rows]], classes[issues.suggested]
    return pd.DataFrame(
        {
            "product_id": products.ids[issues.rows],
            "given_code": given,
            "suggested_code": suggested,
            "score": issues.scores,
            "removed": issues.removed,
            "title": products.table["title"].to_numpy()[issues.rows],
            "given_name": [names.get(code, "") for code in given],
            "suggested_name": [names.get(code, "") for code in suggested],
            **dict(zip(DECISION_COLUMNS, ("", suggested), strict=True)),
        }
    )


def write_issues(
    table: pd.DataFrame, folder: Path, decided: Sequence[Decision] = (), *, byte_order_mark: bool = False
) -> None:
    """Writes flagged products into a folder, the columns of `issues_table`; the manifest last.

    A spreadsheet program takes the codes of the TSV for numbers or dates where they look like some; those
    of the workbook are texts.

    Args:
        decided: what people decided before; it stands after the flagged, so that the file has all decisions.
        byte_order_mark: start the TSV with one, by which Excel knows UTF-8.
    """
    texts = table.assign(
        score=[f"{score:.6f}" for score in table["score"]],
        removed=np.where(table["removed"], "true", "false"),
    )
    texts = pd.concat([texts, _decided_rows(decided)]).reindex(columns=texts.columns).fillna("")
    encoding = "utf-8-sig" if byte_order_mark else "utf-8"
    with whole_file(folder / ISSUES) as temporary, temporary.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(texts.columns)
        writer.writerows(map(defused, row) for row in texts.itertuples(index=False))
    write_text_workbook(folder / WORKBOOK, "label issues", texts)
    write_manifest(folder, flagged=len(table))


def _decided_rows(decided: Sequence[Decision]) -> pd.DataFrame:
    rows = [(each.product_id, each.given or "", each.choice, each.code) for each in decided]
    return pd.DataFrame(rows, columns=["product_id", "given_code", *DECISION_COLUMNS], dtype=object)
