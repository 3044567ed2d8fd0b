"""What a request asks about: titles, descriptions and images, checked before a model sees any of them."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.core.errors import InputError

FIELDS = ("title", "description", "image", "image_url")
MAX_PRODUCTS = 256  # of one request
MAX_TEXT = 100_000  # characters of a title or a description


@dataclass(frozen=True)
class Product:
    """A product of a request.

    Attributes:
        image: a file's bytes; None where the request brings none.
        image_url: where the image lies in a store; "" for nowhere.
    """

    title: str
    description: str
    image: bytes | None
    image_url: str


def products_of(instances: Any) -> list[Product]:
    """The products of a request, each with `title` and, where there are any, `description` and an image.

    Args:
        instances: `image` is the base64 of a file; `image_url` may stand in its place.

    Raises:
        InputError: naming the product by its place in the request, from 0 on.
    """
    if not isinstance(instances, list) or not instances:
        raise InputError(f'"instances": expected a list of objects with {", ".join(FIELDS)}')
    if len(instances) > MAX_PRODUCTS:
        raise InputError(f"{len(instances):,} products in one request: {MAX_PRODUCTS} is the limit")
    return [_product(instance, f"product {number}") for number, instance in enumerate(instances)]


def _product(instance: Any, where: str) -> Product:
    if not isinstance(instance, Mapping):
        raise InputError(f"{where}: expected an object with {', '.join(FIELDS)}")
    if unknown := sorted(str(name) for name in instance if name not in FIELDS):
        raise InputError(f"{where}: unknown {', '.join(unknown)[:200]}; expected {', '.join(FIELDS)}")
    if "title" not in instance:
        raise InputError(f"{where}: no title")
    title, description, url = (
        _text(instance.get(name), f"{where}, {name}") for name in ("title", "description", "image_url")
    )
    image = _image(instance.get("image"), f"{where}, image")
    if image is not None and url:
        raise InputError(f"{where}: image and image_url: send one of them")
    return Product(title, description, image, url)


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{where}: expected a text")
    if len(value) > MAX_TEXT:
        raise InputError(f"{where}: {len(value):,} characters: {MAX_TEXT:,} is the limit")
    return value


def _image(value: Any, where: str) -> bytes | None:
    """What a text encodes; nothing for an empty one."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InputError(f"{where}: expected the base64 of a file")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{where}: not base64: {error}") from error


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Products as objects, of columns of one length.

    Raises:
        InputError: the columns have several lengths.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(
            f"inputs of several lengths: {', '.join(f'{k[:50]} {n}' for k, n in lengths.items())}"
        )
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
