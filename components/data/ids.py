"""Lists of product ids that a person makes."""

import logging
import tempfile
from collections.abc import Collection
from pathlib import Path

from components.core.reading import read_text
from components.data.uris import fetch

log = logging.getLogger(__name__)


def read_ids(uri: str, known: Collection[str]) -> frozenset[str]:
    """The product ids of a file, one a line; those that are not in the catalog are named in a warning.

    Args:
        uri: a path or a URI; "" for none.
        known: the catalog's; none where they are not known.

    Raises:
        InputError: the file cannot be read.
    """
    if not uri:
        return frozenset()
    with tempfile.TemporaryDirectory() as scratch:
        lines = read_text(fetch(uri, Path(scratch)), "a text file of product ids, one a line").splitlines()
    ids = frozenset(line.strip() for line in lines if line.strip())
    unknown = sorted(ids - set(known))
    if known and unknown:
        log.warning("%s: %d ids are not in the catalog, the first is %r", uri, len(unknown), unknown[0])
    return ids
