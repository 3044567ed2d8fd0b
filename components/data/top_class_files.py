"""Files of the largest probabilities over many classes."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.core.artifacts import whole_file
from components.core.reading import reading
from components.data.top_classes import TopClasses

ROW_GROUP = 2**16
COLUMNS = ("product_id", "classes", "probabilities", "rest")


def write_top(path: Path, ids: np.ndarray, codes: Sequence[str], top: TopClasses) -> None:
    """Writes one Parquet file: each row's id, classes, probabilities and the rest's sum; the codes beside."""
    k = top.kept.shape[1]

    def lists(values: np.ndarray) -> pa.Array:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), k)

    rest = top.values[:, -1] * top.counts[-1]
    columns = [pa.array(ids, pa.string()), lists(top.kept), lists(top.values[:, :-1]), pa.array(rest)]
    table = pa.table(dict(zip(COLUMNS, columns, strict=True)))
    named = table.replace_schema_metadata({"classes": json.dumps(list(codes))})
    with whole_file(path) as temporary:
        pq.write_table(named, temporary, compression="zstd", row_group_size=ROW_GROUP)


def read_top(path: Path, *, whose: str) -> tuple[np.ndarray, tuple[str, ...], TopClasses]:
    """Reads what `write_top` wrote: ids, codes and the matrix.

    Raises:
        InputError: it is no such file, or a row names a class twice or one that there is not.
    """
    with reading(path, "a Parquet table of probabilities", whose=whose):
        table = pq.read_table(path, columns=list(COLUMNS), memory_map=True)
        codes = tuple(json.loads((table.schema.metadata or {})[b"classes"]))
        k = table.schema.field("classes").type.list_size
        ids, kept, values, rest = (table[name].combine_chunks() for name in COLUMNS)
        kept, values = (_flat(each).reshape(len(table), k) for each in (kept, values))
        in_order = np.sort(kept, axis=1)
        if not 0 < k < len(codes) or kept.dtype.kind != "u" or (in_order >= len(codes)).any():
            raise ValueError(f"classes outside 0..{len(codes) - 1}, or {k} of them a row")
        if (in_order[:, 1:] == in_order[:, :-1]).any():
            raise ValueError("a row names a class twice")
        each = rest.to_numpy(zero_copy_only=False) / np.float32(len(codes) - k)
        joined = np.concatenate([values, each[:, None]], axis=1, dtype=np.float32)
    return np.array(ids.to_pylist(), dtype=object), codes, TopClasses(kept, joined, len(codes))


def _flat(lists: pa.Array) -> np.ndarray:
    return lists.flatten().to_numpy(zero_copy_only=False)
