"""Which versions of a model are kept: who reads one says so in the store, and nothing deletes it meanwhile.

A reader writes `readers/<version>-<token>.json` before it reads the version's manifest, and takes it away at
its end. `prune` takes a version's manifest away first, looks once more for readers, and puts it back where it
finds one: so a reader finds a whole version or none. What a killed reader left counts for a day.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from components.core.errors import InputError
from components.lifecycle.champion import read_champion, utc_now, whoami
from components.lifecycle.store import ModelStore, Version

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
    found = {}
    for name in store.objects.names(f"{store.root}/readers"):
        reader = store.read_json(f"readers/{name}")
        if reader and str(reader.get("until", "")) > utc_now():
            found[name.partition("-")[0]] = f"{reader.get('by')} reads it since {reader.get('since')}"
    return found


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
    return [
        Kept(version, needed.get(version.id) or (f"one of the newest {keep}" if place < keep else ""))
        for place, version in enumerate(store.all_versions())
    ]


def prune(store: ModelStore, keep: int) -> list[Kept]:
    """Deletes all versions but the newest, the champion, its predecessor, and what is being read.

    Returns:
        Every version, and why it was kept.
    """
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
        store.remove(version)
    return why


def _needed(store: ModelStore) -> dict[str, str]:
    """Version -> why it may not be deleted."""
    champion = read_champion(store)
    needed = readers(store)
    if champion.predecessor:
        needed[champion.predecessor.version] = "the champion's predecessor"
    if champion.version:
        needed[champion.version] = "the champion"
    return needed
