"""The object store of a server's runs."""

from pathlib import Path

import fsspec
import pytest

from components.client.cluster.store import Store
from components.core.errors import InputError


def test_an_object_whose_name_leads_out_of_its_folder_is_not_copied(tmp_path: Path):
    store = Store(str(tmp_path))
    store.files = fsspec.filesystem("memory")
    store.files.pipe("/runs/report/../../outside.html", b"")
    with pytest.raises(InputError, match=r"^/runs/report: names a file '\.\./\.\./outside\.html', expected"):
        store.copy("/runs/report", tmp_path / "in" / "report")
    assert not (tmp_path / "outside.html").exists()
