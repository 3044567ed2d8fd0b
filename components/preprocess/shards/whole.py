"""A catalog prepared in one process: a shard for each of its files."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.artifacts import sha256
from components.core.errors import InputError
from components.data.products import Products
from components.data.tables.findings import Finding
from components.data.uris import check_there, fetch
from components.preprocess.catalog.records import Catalog
from components.preprocess.config import PreprocessConfig, Sources
from components.preprocess.images.sources import images_at
from components.preprocess.reading import read_labeled, read_new
from components.preprocess.shards.cut import LABELED, TEST, cut_catalog
from components.preprocess.shards.merge import Prepared, read_prepared
from components.preprocess.shards.prepare import prepare_shard

# Of a catalog's files those that there must be.
NEEDED = {"products": "the products file", "images": "the folder or zip with the products' images"}


def check_named(sources: Sources) -> None:
    """Refuses a catalog of which a file that there must be is not named, or whose images are not there.

    Raises:
        InputError: naming it.
    """
    for name, what in NEEDED.items():
        if not sources.labeled[name]:
            raise InputError(f"{name}: name {what}")
    check_there(sources.images)  # which are read last


def prepare_labeled(
    paths: dict[str, Path],
    sources: Sources,
    config: PreprocessConfig,
    findings: list[Finding],
    folder: Path,
    decoded: int | None,
) -> Prepared:
    """The labeled products as one shard."""
    catalog, metadata = read_labeled(paths, config, findings)
    metadata["digests"] = digests_of(sources.labeled, paths)
    return _prepare([("images", catalog)], LABELED, metadata, findings, sources, config, folder, decoded)


def prepare_new(
    paths: dict[str, Path],
    sources: Sources,
    config: PreprocessConfig,
    labeled: Products,
    findings: list[Finding],
    folder: Path,
    decoded: int | None = None,
) -> Prepared:
    """The products to categorize as a shard for each of their files."""
    catalogs, metadata = read_new(paths, config, labeled, findings)
    metadata["digests"] = digests_of(sources.unlabeled, paths)
    tested, own = paths.get("test_products"), "test_images" if sources.test_images else "images"
    parts = [(own if each.products.path == tested else "images", each) for each in catalogs]
    return _prepare(parts, TEST, metadata, findings, sources, config, folder, decoded)


def _prepare(
    parts: Sequence[tuple[str, Catalog]],
    what: str,
    metadata: dict[str, Any],
    findings: list[Finding],
    sources: Sources,
    config: PreprocessConfig,
    folder: Path,
    decoded: int | None,
) -> Prepared:
    cut = cut_catalog(parts, what, metadata, findings, size=sys.maxsize, folder=folder / "records")
    share = 1.0 if decoded is None else decoded / max(1, sum(shard.rows for shard in cut.shards))
    names = dict.fromkeys(shard.images for shard in cut.shards)
    images = {name: images_at(getattr(sources, name), folder / name) for name in names}
    for shard in cut.shards:
        prepare_shard(cut, shard, images[shard.images], config, folder / str(shard.number), decoded=share)
    return read_prepared(cut, [folder / str(shard.number) for shard in cut.shards])


@contextmanager
def fetched(uris: dict[str, str]) -> Iterator[dict[str, Path]]:
    """The local paths of the tables that are named, by name; images are read where they lie."""
    tables = {name: uri for name, uri in uris.items() if uri and not name.endswith("images")}
    with tempfile.TemporaryDirectory() as scratch:
        yield {name: fetch(uri, Path(scratch) / name) for name, uri in tables.items()}


def digests_of(uris: dict[str, str], paths: dict[str, Path]) -> dict[str, str]:
    """SHA-256 of the tables; "" for images, which the shards' tasks read."""
    return {name: sha256(paths[name]) if name in paths else "" for name, uri in uris.items() if uri}
