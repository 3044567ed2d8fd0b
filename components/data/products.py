"""The product table that passes between the stages: its columns, its checks, its folder."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.core.artifacts import read_manifest, whole_file, write_manifest
from components.core.errors import InputError
from components.core.reading import reading

SCHEMA = pa.schema(
    [
        pa.field("product_id", pa.string(), nullable=False),  # unique
        pa.field("title", pa.string(), nullable=False),  # "" where there is none
        pa.field("description", pa.string(), nullable=False),  # "" where there is none
        pa.field("image", pa.string()),  # key in the image store; null where there is no image
        pa.field("code", pa.string()),  # the user's own label; null where unlabeled
        pa.field("label", pa.int64()),  # 0..C-1 over the sorted codes; null where unlabeled
        pa.field("split", pa.string(), nullable=False),  # train, validation or test
        pa.field("fold", pa.int64()),  # 0..F-1 over train, null elsewhere
        pa.field("group", pa.int64(), nullable=False),  # products with one title or image share a group
        pa.field("removed", pa.bool_(), nullable=False),  # taken out of train as a label issue
        pa.field("row_id", pa.string(), nullable=False),  # the catalog's own row number, for predictions
        pa.field("image_id", pa.string(), nullable=False),  # the catalog's image id, for predictions
    ]
)
# The columns that only texts and files of predictions are made of: large, and compared with nothing.
TEXTS = ("title", "description", "row_id", "image_id")
SCHEMA_OF_TEXTS = pa.schema([SCHEMA.field(name) for name in TEXTS])
GROUP = 2**16  # rows of a Parquet row group
FOLDS = "folds.json"  # beside fusion's models: validation product id -> the fold that held it out
SPLITS = ("train", "validation", "test")
TABLE = "products.parquet"


@dataclass(frozen=True)
class Products:
    """A product table with its classes.

    Attributes:
        table: one row a product, the columns of `SCHEMA`, in the order of the catalog's files
            (labeled products first, then the test products).
        classes: the sorted codes; label `i` means `classes[i]`.
        metadata: of the catalog's files: dialect, column names, digests, class names.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def ids(self) -> np.ndarray:
        """Product ids, (N,) strings."""
        return self.table["product_id"].to_numpy(dtype=object)

    @property
    def labels(self) -> np.ndarray:
        """Labels, (N,) int64, -1 where unlabeled."""
        return self.table["label"].fillna(-1).to_numpy(dtype=np.int64)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split, in the table's order; `out_of_fold` names what has a fold, train."""
        if split == "out_of_fold":
            return np.flatnonzero(self.table["fold"].notna())
        return np.flatnonzero((self.table["split"] == split).to_numpy())


@dataclass(frozen=True)
class Task:
    """What one training fits and predicts: row numbers of a product table."""

    fit: np.ndarray
    predict: dict[str, np.ndarray]  # split name -> rows

    @property
    def of_fold(self) -> bool:
        """Whether it is a fold's training, for denoising: nothing is chosen by what it predicts."""
        return "out_of_fold" in self.predict

    @property
    def refit(self) -> np.ndarray:
        """Rows of a second training for all that comes after: train and validation; none of a fold's."""
        if self.of_fold or "validation" not in self.predict:
            return np.array([], np.int64)
        return np.union1d(self.fit, self.predict["validation"])

    def predicted(self, products: Products) -> np.ndarray:
        """Rows whose answers are wanted: a fold's training is asked for its splits alone, another for all."""
        return np.concatenate([*self.predict.values()]) if self.of_fold else np.arange(len(products.table))


def training_task(products: Products, *, fold: int | None, cleaned: bool) -> Task:
    """Which rows a classifier is fitted on, and which it predicts.

    Without a fold it is fitted on train and predicts validation and test. Given a fold it is fitted on the
    other folds and predicts that fold, as `out_of_fold`, and validation: the matrices that denoising needs.
    The paper takes folds of all labeled products (section 3.2.1). Here they are of train alone: with folds
    of validation too, validation's labels choose which train products go, and the score of what is trained
    on the rest flatters (benchmarks/label_leak.py measures it). Test products are never fitted on.

    Args:
        cleaned: leave out the rows that denoising removed.

    Raises:
        InputError: the fold does not exist, or nothing is left to fit on.
    """
    table = products.table
    if fold is None:
        fit = (table["split"] == "train").to_numpy()
        predict = {split: products.rows(split) for split in ("validation", "test")}
    else:
        folds = table["fold"].fillna(-1).to_numpy(dtype=np.int64)
        if fold < 0 or fold not in folds:
            raise InputError(f"fold {fold} does not exist: the products have folds 0 to {folds.max()}")
        fit = (folds >= 0) & (folds != fold)
        predict = {"out_of_fold": np.flatnonzero(folds == fold), "validation": products.rows("validation")}
    if cleaned:
        fit = fit & ~table["removed"].to_numpy(dtype=bool)
    if not fit.any():
        raise InputError("no product is left to train on: check the split and what denoising removed")
    return Task(np.flatnonzero(fit), {split: rows for split, rows in predict.items() if len(rows)})


def read_products(folder: Path) -> Products:
    """Reads a product table.

    Raises:
        InputError: the folder holds no product table, a damaged one, or one that breaks one of its rules.
    """
    read_manifest(folder)
    path = folder / TABLE
    with reading(path, "a product table"):
        table = pq.read_table(path)
    metadata = table.schema.metadata or {}
    if b"classes" not in metadata or table.schema.names != SCHEMA.names:
        raise InputError(f"{path}: not a product table: expected the columns {SCHEMA.names}")
    frame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    products = Products(frame, tuple(json.loads(metadata[b"classes"])), json.loads(metadata[b"metadata"]))
    check_products(products, where=str(path))
    return products


def write_products(products: Products, folder: Path) -> None:
    """Checks a product table and writes it as one Parquet file into a folder, the manifest last."""
    texts = products.table[list(TEXTS)]
    write_products_with(
        products, [pa.Table.from_pandas(texts, SCHEMA_OF_TEXTS, preserve_index=False)], folder
    )


def write_products_with(products: Products, texts: Iterable[pa.Table], folder: Path) -> None:
    """`write_products` of a table whose texts are not in memory.

    Args:
        texts: the columns `TEXTS` of the table's rows, in their order, some rows at a time.
    """
    check_products(products, where=str(folder))
    metadata = {"classes": json.dumps(list(products.classes)), "metadata": json.dumps(products.metadata)}
    others = pa.schema([field for field in SCHEMA if field.name not in TEXTS])
    table = pa.Table.from_pandas(products.table[others.names], schema=others, preserve_index=False)
    schema, at = SCHEMA.with_metadata(metadata), 0
    with (
        whole_file(folder / TABLE) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        for piece in _grouped(texts):
            rows = table.slice(at, len(piece))
            columns = {name: (piece if name in TEXTS else rows).column(name) for name in SCHEMA.names}
            writer.write_table(pa.table(columns, schema=schema).combine_chunks(), GROUP)
            at += len(piece)
    write_manifest(folder, products=at)


def _grouped(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, `GROUP` at a time, whatever the pieces: equal tables are equal files."""
    waiting = SCHEMA_OF_TEXTS.empty_table()
    for piece in pieces:
        waiting = pa.concat_tables([waiting, piece.cast(SCHEMA_OF_TEXTS)])
        while len(waiting) > GROUP:
            yield waiting.slice(0, GROUP)
            waiting = waiting.slice(GROUP)
    yield waiting


def check_products(products: Products, *, where: str) -> None:
    """Checks the rules that every stage relies on.

    Raises:
        InputError: naming the rule and the first offending product.
    """
    table = products.table
    labels, count = products.labels, len(products.classes)
    expected = pd.Series(products.classes, dtype=object).reindex(labels).to_numpy()
    wrong_code = (labels >= 0) & (expected != table["code"].to_numpy(dtype=object))
    rules = {
        "product_id occurs twice": table["product_id"].duplicated().to_numpy(),
        "split is not train, validation or test": ~table["split"].isin(SPLITS).to_numpy(),
        f"label is not in 0..{count - 1}": (labels < -1) | (labels >= count),
        "label and code disagree": wrong_code,
        "a train or validation product has no label": (table["split"] != "test").to_numpy() & (labels < 0),
        "a product outside train has a fold": (
            table["fold"].notna() & (table["split"] != "train")
        ).to_numpy(),
        "a removed product is not in train": (table["removed"] & (table["split"] != "train")).to_numpy(),
    }
    for rule, broken in rules.items():
        if broken.any():
            row = int(np.flatnonzero(broken)[0])
            raise InputError(
                f"{where}: {rule}: product {table['product_id'].iloc[row]!r} "
                f"(row {row}; {int(broken.sum())} such rows)"
            )


def image_rows(products: Products, rows: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The distinct images of some products.

    Returns:
        Their keys, and for every product of the whole table the position of its image among the keys,
        (N,) int64: -1 where it has none or is not among `rows`.
    """
    images = products.table["image"].iloc[rows]
    keys = sorted(images.dropna().unique().tolist())
    position = {key: number for number, key in enumerate(keys)}
    index = np.full(len(products.table), -1, dtype=np.int64)
    index[rows] = [position.get(key, -1) for key in images.tolist()]
    return keys, index
