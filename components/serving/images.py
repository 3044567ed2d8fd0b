"""The images of a request: fetched from allowed stores alone, checked wholly, packed for a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from components.core.errors import InputError
from components.data.image_store import ImageStore, write_image_store
from components.data.uris import check_uri, explained, open_store
from components.preprocess.images.decoding import image_key, upright_jpeg
from components.preprocess.images.sources import MAX_BYTES, BadImage
from components.serving.products import Product

MAX_FETCHED = 200 * 2**20  # bytes of all images of one request that come from stores
STORES = ("s3", "s3a", "gs", "gcs")


class AllowedStores:
    """The places that images may be fetched from, and no others.

    No image comes over plain HTTP: a request could name any host that the server reaches. A store that
    answers with another address is not followed there.

    Args:
        places: s3://bucket, gs://bucket/folder, ...

    Raises:
        InputError: a place is none of a store.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self._places = [_split(place) for place in places]

    def fetch(self, url: str) -> bytes:
        """The bytes of an image.

        Raises:
            InputError: it lies elsewhere, nothing is there, or it is too large.
        """
        if not self._allows(url):
            raise InputError(f"{url[:200]!r} is in no store that images may come from")
        filesystem, path = open_store(url, **_without_redirects(url))
        with explained(url):
            size = filesystem.info(path)["size"]
            if size > MAX_BYTES:
                raise InputError(f"{url}: {size:,} bytes: {MAX_BYTES:,} is the limit of a file")
            content: Any = filesystem.cat_file(path, start=0, end=size)
            return content

    def _allows(self, url: str) -> bool:
        try:
            scheme, bucket, parts = _split(url)
        except (InputError, ValueError):
            return False
        return any(
            (scheme, bucket, parts[: len(inside)]) == (store, root, inside) and len(parts) > len(inside)
            for store, root, inside in self._places
        )


def _without_redirects(url: str) -> dict[str, Any]:
    """The options of a store's backend with which it follows none."""
    if url.startswith("s3"):
        return {"config_kwargs": {"http_session_cls": _Session}}
    return {"session_kwargs": {"trace_configs": [_tracing()]}, "skip_instance_cache": True}


class _Session(AIOHTTPSession):
    """What s3fs sends by: it would follow every redirect, and has no option against it."""

    async def _get_session(self, proxy_url: Any) -> Any:
        session: Any = await super()._get_session(proxy_url)
        if not session.trace_configs:
            session.trace_configs.append(_tracing())
        return session


def _tracing() -> aiohttp.TraceConfig:
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_refuse_redirect)
    tracing.freeze()
    return tracing


async def _refuse_redirect(*answer: Any) -> None:
    raise InputError("the store answers with another address, which is not followed")


def _split(place: str) -> tuple[str, str, list[str]]:
    """Scheme, bucket and folders of a place in a store.

    Raises:
        InputError: another scheme, a user or a password, or a path that climbs or hides where it leads.
    """
    check_uri(place)
    found = urlsplit(place)
    parts = [part for part in found.path.split("/") if part]
    odd = found.query or found.fragment or "\\" in place or unquote(place) != place or not place.isprintable()
    if found.scheme not in STORES or not found.netloc or odd or {".", ".."} & {*parts}:
        raise InputError(f"{place!r}: expected a place in a store: s3://bucket/folder, gs://bucket, ...")
    return found.scheme, found.netloc, parts


def pack(
    products: Sequence[Product], stores: AllowedStores, folder: Path, *, max_pixels: int
) -> tuple[ImageStore, list[str | None]]:
    """Packs the images of a request's products.

    Args:
        folder: an empty one, which the store will lie in.
        max_pixels: of an image; see `upright_jpeg`.

    Returns:
        The store, and every product's key in it; None for one without an image.

    Raises:
        InputError: an image cannot be fetched or used, or they are too large together; the
            message names the product.
    """
    packed: dict[str, tuple[str, int, int, bytes]] = {}
    keys, fetched = [], 0
    for number, product in enumerate(products):
        data = stores.fetch(product.image_url) if product.image_url else product.image
        fetched += len(data) if data is not None and product.image_url else 0
        if fetched > MAX_FETCHED:
            raise InputError(
                f"product {number}, image: over {MAX_FETCHED:,} bytes of images from stores in one request: "
                "send fewer products in each"
            )
        keys.append(None if data is None else image_key(data))
        if data is not None and keys[-1] not in packed:
            packed[keys[-1]] = (keys[-1], *_checked(data, max_pixels, f"product {number}, image"))
    write_image_store(folder, packed.values())
    return ImageStore(folder, check=False), keys


def _checked(data: bytes, max_pixels: int, where: str) -> tuple[int, int, bytes]:
    try:
        if len(data) > MAX_BYTES:
            raise BadImage("image_too_large", f"{len(data):,} bytes: {MAX_BYTES:,} is the limit of a file")
        checked = upright_jpeg(data, max_pixels)
    except BadImage as problem:
        raise InputError(f"{where}: {problem}") from problem
    return checked.width, checked.height, checked.data
