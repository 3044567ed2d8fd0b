"""Configurations: a mapping from a run's form becomes a checked dataclass."""

import dataclasses
import re
import typing
from collections.abc import Mapping
from types import UnionType
from typing import Any, TypeVar

from components.core.errors import InputError

T = TypeVar("T")
NAME_PATTERN = re.compile(r"\w[\w.+-]{0,63}")


def check_rules(rules: Mapping[str, bool]) -> None:
    """Raises ValueError with every rule of a configuration, in words, that does not hold."""
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise ValueError("; ".join(broken))


def parse_config(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Makes the dataclass `cls` from `values`, such as one item of a pipeline's list parameter.

    Kubeflow Pipelines passes every number inside a list or a dict as a float (40 becomes 40.0), so a
    float without a fraction is accepted for an int.

    Args:
        where: what the values configure, for the message ("text configuration 2").

    Raises:
        InputError: unknown keys, missing keys or values of the wrong type; all of them at once.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    types = typing.get_type_hints(cls)
    problems = [f"unknown key {key!r}" for key in values if key not in fields]
    parsed: dict[str, Any] = {}
    for name, field in fields.items():
        if name in values:
            try:
                parsed[name] = _cast(values[name], types[name])
            except (TypeError, ValueError):
                problems.append(f"{name} = {values[name]!r} is not {_type_name(types[name])}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{name} is missing")
    name = parsed.get("name", "name")
    if not NAME_PATTERN.fullmatch(name):
        problems.append(
            f"name = {name!r} names files too: expected letters, digits, '.', '_', '+' and '-', 64 at most"
        )
    if problems:
        raise InputError(f"{where}: {'; '.join(problems)}. Known keys: {', '.join(fields)}.")
    try:
        return cls(**parsed)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def parse_kind(kinds: Mapping[str, type], values: Mapping[str, Any], *, default: str = "", where: str) -> Any:
    """Makes the dataclass that the key "kind" of `values` names; see `parse_config`.

    Args:
        default: the kind where `values` has none.

    Raises:
        InputError: no such kind, or see `parse_config`.
    """
    kind = values.get("kind", default)
    if not isinstance(kind, str) or kind not in kinds:
        raise InputError(f"{where}: kind = {kind!r} is not one of {', '.join(kinds)}")
    return parse_config(kinds[kind], values, where=where)


def _cast(value: Any, expected: Any) -> Any:
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _cast(value, next(kind for kind in arguments if kind is not type(None)))
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(value)
        return value
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise TypeError(value)
        return origin(_cast(item, arguments[0]) for item in value)
    if origin is dict:
        return {_cast(key, arguments[0]): _cast(item, arguments[1]) for key, item in dict(value).items()}
    if expected is bool or isinstance(value, bool):
        if not (expected is bool and isinstance(value, bool)):
            raise TypeError(value)
        return value
    if expected is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if expected is float and isinstance(value, int | float):
        return float(value)
    if not isinstance(value, expected):
        raise TypeError(value)
    return value


def _type_name(expected: Any) -> str:
    if typing.get_origin(expected) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(expected)))
    return getattr(expected, "__name__", str(expected))
