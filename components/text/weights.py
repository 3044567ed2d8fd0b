"""Where pretrained weights come from: a folder, a URI of an object store, a name on the hub."""

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

import fsspec
from fsspec.utils import tokenize
from huggingface_hub import snapshot_download
from huggingface_hub.constants import HF_HOME

from components.core.artifacts import MANIFEST, read_manifest, write_manifest
from components.core.errors import InputError
from components.data.hub import TEXT_FILES, asking_hub
from components.data.uris import explained, is_uri, open_store
from components.modeling.text.encoder import ALLOWED

log = logging.getLogger(__name__)

POOLING = "1_Pooling/config.json"  # of a folder of sentence-transformers: how its texts are pooled
HUB_PATTERNS = ("*.json", "model*.safetensors", "vocab.txt", "merges.txt", "*.model")


def find_weights(weights: str, *, revision: str | None = None) -> Path:
    """The local folder of weights given as a folder, a URI (`scheme://...`) or a name on the hub.

    What is fetched goes to a cache below `HF_HOME`; on a cluster, mount a volume there.

    Raises:
        InputError: they cannot be reached.
    """
    if is_uri(weights):
        return _fetch(weights, Path(HF_HOME) / "uri")
    if Path(weights).is_dir():
        return Path(weights)
    if weights.startswith((".", "/", "~")):
        raise InputError(f"weights {weights!r}: no such folder")
    with asking_hub(f"weights {weights!r}: no such folder, and they", instead=TEXT_FILES):
        return Path(snapshot_download(weights, revision=revision, allow_patterns=list(HUB_PATTERNS)))


def _fetch(uri: str, cache: Path) -> Path:
    """Copies the allowed files below `uri` to a folder of the cache, once for each state of the files."""
    filesystem, root = open_store(uri)
    with explained(f"weights {uri}"):
        found = {Path(entry["name"]).name: entry for entry in filesystem.ls(root, detail=True)}
        files = {name: entry for name, entry in sorted(found.items()) if ALLOWED.fullmatch(name)}
        if filesystem.exists(f"{root}/{POOLING}"):
            files[POOLING] = filesystem.info(f"{root}/{POOLING}")
        folder = cache / tokenize(uri, *(filesystem.ukey(entry["name"]) for entry in files.values()))
        if not _is_whole(folder):
            _download(filesystem, files, folder)
            read_manifest(folder)
    return folder


def _is_whole(folder: Path) -> bool:
    if not folder.exists():
        return False
    try:
        read_manifest(folder)
    except InputError as error:
        log.warning("weights are fetched again: %s", error)
        shutil.rmtree(folder)
        return False
    return True


def _download(filesystem: fsspec.AbstractFileSystem, files: dict[str, dict[str, Any]], folder: Path) -> None:
    # All or nothing, under another name until it is whole: other tasks may share the cache.
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        whole = Path(temporary) / "weights"
        whole.mkdir()
        for name, entry in files.items():
            target = whole / name
            target.parent.mkdir(exist_ok=True)
            filesystem.get_file(entry["name"], str(target))
            size, expected = target.stat().st_size, entry.get("size")
            if expected is not None and size != expected:
                raise OSError(f"{target.name}: {size} bytes of {expected} arrived")
        write_manifest(whole)
        try:
            whole.rename(folder)
        except OSError:
            if not (folder / MANIFEST).exists():  # else another task was faster
                raise
