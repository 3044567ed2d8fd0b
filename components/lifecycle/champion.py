"""The champion: the version that predicts, named by one object that no two runs can replace at once."""

import getpass
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from components.core.environment import run_id
from components.core.errors import InputError
from components.lifecycle.objects import Changed
from components.lifecycle.store import ModelStore
from components.lifecycle.version import Version, as_json, parse_object

FORMAT = 1
EARLIER = 20  # champions that the pointer remembers


@dataclass(frozen=True)
class Promotion:
    """How a version became champion.

    Attributes:
        manifest_sha256: of the version's manifest, which names the digest of each of its files.
        data_digests: of the catalog that it was trained on.
        since: UTC.
        by: the run's id on a server, else user and machine.
        why: in words.
    """

    version: str
    manifest_sha256: str
    data_digests: Any
    since: str
    by: str
    why: str


@dataclass(frozen=True)
class Champion:
    """The pointer as it was read.

    Attributes:
        promotion: the champion's; None where there never was one.
        earlier: those before, the latest first; the first is the predecessor.
        tag: what the pointer must still have to be replaced; "" of one that was not read.
    """

    promotion: Promotion | None
    earlier: tuple[Promotion, ...] = ()
    tag: str = field(default="", repr=False, compare=False)

    @property
    def version(self) -> str | None:
        """The champion's id."""
        return self.promotion.version if self.promotion else None

    @property
    def predecessor(self) -> Promotion | None:
        """Whom `roll_back` makes champion again."""
        return self.earlier[0] if self.earlier else None


def read_champion(store: ModelStore) -> Champion:
    """Reads the pointer.

    Raises:
        InputError: it is damaged, or of a later format than this version reads.
    """
    name, where = _pointer(store), f"{store}/champion.json"
    content, tag = store.objects.tagged(name)
    if content is None:
        return Champion(None, (), tag)
    found = parse_object(content, where)
    if found.get("format") != FORMAT:
        raise InputError(
            f"{where}: format {found.get('format')!r}, this release reads {FORMAT}: use a later release"
        )
    try:
        promotions = [Promotion(**each) for each in (found["champion"], *found["earlier"])]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{where}: not the pointer to a champion: {error}; restore it from a backup"
        ) from error
    return Champion(promotions[0], tuple(promotions[1:]), tag)


def promote(store: ModelStore, version: Version, *, instead_of: Champion, why: str, by: str = "") -> Champion:
    """Makes a version the champion, if the champion still is the one that was read.

    Args:
        instead_of: the pointer as it was read before anything was decided.

    Raises:
        InputError: it is the champion already, somebody else has replaced the champion since, or the store
            ignores conditions.
    """
    if version.id == instead_of.version:  # its predecessor would be itself, and the true one lost
        raise InputError(f"{store}: {version.id} is the champion already")
    promotion = _promotion(version, why, by)
    earlier = (instead_of.promotion, *instead_of.earlier) if instead_of.promotion else ()
    return _replace(store, promotion, earlier, instead_of)


def roll_back(store: ModelStore, *, why: str = "", by: str = "") -> Champion:
    """Makes the champion's predecessor the champion again.

    Raises:
        InputError: there is no predecessor, its version is gone, or see `promote`.
    """
    champion = read_champion(store)
    if champion.promotion is None or champion.predecessor is None:
        raise InputError(
            f"{store}: the champion has no predecessor to go back to; `models promote` names any version"
        )
    version = store.version(champion.predecessor.version)
    words = f"rolled back from {champion.version}" + (f": {why}" if why else "")
    return _replace(store, _promotion(version, words, by), champion.earlier[1:], champion)


def whoami() -> str:
    """The run's id on a server; else the user and the machine."""
    user = "unknown"
    with suppress(KeyError, OSError):  # a pod's user has no name
        user = getpass.getuser()
    return run_id() or f"{user}@{socket.gethostname()}"


def utc_now() -> str:
    """Now, as every file of the store writes a time."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _promotion(version: Version, why: str, by: str) -> Promotion:
    digests = version.manifest.get("digests", {})
    return Promotion(version.id, version.manifest_sha256, digests, utc_now(), by or whoami(), why)


def _replace(
    store: ModelStore, promotion: Promotion, earlier: tuple[Promotion, ...], read: Champion
) -> Champion:
    store.objects.check_conditions(store.root)
    content = as_json(_document(promotion, earlier[:EARLIER]))
    try:
        store.objects.replace(_pointer(store), content, read.tag)
    except Changed:
        raise InputError(_who_was_faster(store, promotion, read)) from None
    # Not read again: a store that fails to answer now would have the promotion taken for refused.
    return Champion(promotion, earlier[:EARLIER])


def _document(promotion: Promotion, earlier: tuple[Promotion, ...]) -> Mapping[str, Any]:
    return {"format": FORMAT, "champion": asdict(promotion), "earlier": [asdict(each) for each in earlier]}


def _who_was_faster(store: ModelStore, promotion: Promotion, read: Champion) -> str:
    now = read_champion(store).promotion
    what = f"{now.by} made {now.version} champion at {now.since}" if now else "the champion was removed"
    return (
        f"{store}: {promotion.version} is not promoted: {what}, while this compared it with "
        f"{read.version or 'none'}. "
        "Nothing was overwritten and the version is stored: compare it with the new champion"
    )


def _pointer(store: ModelStore) -> str:
    return f"{store.root}/champion.json"
