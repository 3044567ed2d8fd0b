"""Which versions of a model are kept: who reads one says so in the store, and nothing deletes it meanwhile.

A reader writes `readers/<version>-<token>.json` before it reads the version's manifest, and takes it away at
its end. `prune` takes a version's manifest away first, looks once more for readers, and puts it back where it
finds one: so a reader finds a whole version or none. What a killed reader left counts for a day, as do files
of a version that was not stored to the end.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from components.core.artifacts import MANIFEST
from components.core.errors import InputError
from components.lifecycle.champion import read_champion, utc_now, whoami
from components.lifecycle.store import VERSION, ModelStore
from components.lifecycle.version import Version

HOURS = 24  # longer than any reading


@dataclass(frozen=True)
class Kept:
    """A version and why it is kept; "" for one that is deleted."""

    version: Version
    why: str


@contextmanager
def reading(store: ModelStore, given: str) -> Iterator[Version]:
    """A version by its id or the beginning of it, which `prune` leaves alone while the block lasts.

    Raises:
        InputError: there is no such version.
    """
    with registered(store, store.version(given).id) as version:
        yield store.version(version)


@contextmanager
def registered(store: ModelStore, version: str) -> Iterator[str]:
    """The id of a version, stored or about to be, which `prune` leaves alone while the block lasts."""
    name = f"readers/{version}-{secrets.token_hex(8)}.json"
    until = datetime.now(UTC) + timedelta(hours=HOURS)
    store.write_json(name, {"by": whoami(), "since": utc_now(), "until": until.isoformat(timespec="seconds")})
    try:
        yield version
    finally:
        store.objects.remove(f"{store.root}/{name}")


def readers(store: ModelStore) -> dict[str, str]:
    """Version -> who reads it, of every reader that may still be at work."""
    return {
        name.partition("-")[0]: f"{reader.get('by')} reads it since {reader.get('since')}"
        for name, reader in _registrations(store).items()
        if _counts(reader)
    }


def _registrations(store: ModelStore) -> dict[str, dict[str, Any]]:
    """What every reader has written, by its object's name."""
    names = store.objects.names(f"{store.root}/readers")
    found = {name: store.read_json(f"readers/{name}") for name in names}
    return {name: reader for name, reader in found.items() if reader is not None}


def _counts(reader: dict[str, Any]) -> bool:
    """Whether a reader may still be at work."""
    return str(reader.get("until", "")) > utc_now()


def choose(store: ModelStore, keep: int) -> list[Kept]:
    """What `prune` would do with every version, the newest first.

    Args:
        keep: how many of the newest are kept, whatever they are.

    Raises:
        InputError: it is below 1.
    """
    if keep < 1:
        raise InputError(f"--keep {keep}: expected 1 or more versions")
    needed = _needed(store)

    def why(version: Version, place: int) -> str:
        if version.id in needed:
            return needed[version.id]
        if version.damage:
            return f"damaged: {version.damage}"
        return f"one of the newest {keep}" if place < keep else ""

    return [Kept(version, why(version, place)) for place, version in enumerate(store.all_versions())]


def prune(store: ModelStore, keep: int) -> list[Kept]:
    """Deletes all versions but the newest, the champion, its predecessor, and what is being read.

    What killed readers left, and what was not stored or deleted to the end, goes after a day.

    Returns:
        Every version, and why it was kept.
    """
    for name, reader in _registrations(store).items():
        if not _counts(reader):
            store.objects.remove(f"{store.root}/readers/{name}")
    for version in _unfinished(store):
        if version not in _needed(store):
            store.remove(version)
    return [
        kept if kept.why else Kept(kept.version, _delete(store, kept.version)) for kept in choose(store, keep)
    ]


def _delete(store: ModelStore, version: Version) -> str:
    """Deletes a version; returns why not, where somebody began to need it meanwhile."""
    manifest = store.withdraw(version)
    why = _needed(store).get(version.id, "")
    if why:
        store.restore(version, manifest)
    else:
        why = "" if store.remove(version.id) else "it was stored again just now"
    return why


def _unfinished(store: ModelStore) -> Iterator[str]:
    """Ids under which files lie without a manifest, none of them written in the last hours."""
    since = datetime.now(UTC) - timedelta(hours=HOURS)
    for version in filter(VERSION.fullmatch, store.objects.names(f"{store.root}/versions")):
        times = store.objects.written(store.folder(version))
        if times and MANIFEST not in times and max(times.values()) < since:
            yield version


def _needed(store: ModelStore) -> dict[str, str]:
    """Version -> why it may not be deleted."""
    champion = read_champion(store)
    needed = readers(store)
    if champion.predecessor:
        needed[champion.predecessor.version] = "the champion's predecessor"
    if champion.version:
        needed[champion.version] = "the champion"
    return needed
