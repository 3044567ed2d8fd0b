"""Configurations: a mapping from a run's form becomes a checked model that does not change any more."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from components.core.errors import InputError

T = TypeVar("T", bound="Config")
MANY_CLASSES = 100  # up to so many, every probability is kept and the paper's fusion nets read all of them
NAME_PATTERN = re.compile(r"\w[\w.+-]{0,63}")


def _names_files(name: str) -> str:
    if not NAME_PATTERN.fullmatch(name):
        raise ValueError("names files too: expected letters, digits, '.', '_', '+' and '-', 64 at most")
    return name


Name = Annotated[str, AfterValidator(_names_files)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
Accelerator = Literal["auto", "cpu"]  # whether a GPU may be used
FIXED = "it is fixed at what its default was"  # of a key that is gone


def setting(default: Any, description: str, *, paper: str = "", expert: bool = False) -> Any:
    """A configuration's field: its default, and what `docs/configuration.md` says of it.

    Args:
        description: what it sets, with its unit.
        paper: the paper's section that the default comes from; "" where it is not the paper's.
        expert: whether only few users will ever have a reason to change it.
    """
    return Field(default, description=description, json_schema_extra={"paper": paper, "expert": expert})


class Config(BaseModel):
    """What every configuration has in common.

    Values have the types of JSON: a string is no number, null is no value, NaN and infinity are none.
    Kubeflow Pipelines passes every number inside a list or a dict as a float (40 becomes 40.0), so a float
    without a fraction is taken for an int; a list becomes a tuple.

    Attributes:
        OLD_KEYS: a key of the past -> what to write in its place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    OLD_KEYS: ClassVar[dict[str, str]] = {}

    def problems(self) -> Iterator[str]:
        """What does not go together in values that are each right by themselves, in words."""
        yield from ()

    @model_validator(mode="before")
    @classmethod
    def _read_json(cls, values: Any) -> Any:
        return {key: _read(value) for key, value in values.items()} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if found := list(self.problems()):
            raise ValueError("; ".join(found))
        return self


def parse_config(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Makes a configuration of `values`, such as one item of a pipeline's list parameter.

    Args:
        where: what the values configure, for the message ("text configuration camembert").

    Raises:
        InputError: unknown or missing keys, values that are wrong or do not go together; all of them at once.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: {values!r}: expected an object, {{...}}")
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(_in_words(cls, problem) for problem in error.errors(include_url=False))
        raise InputError(f"{where}: {problems}. Known keys: {', '.join(cls.model_fields)}.") from error


def restored_config(cls: type[T], settings: Mapping[str, Any], *, where: str) -> T:
    """The configuration of a written model: keys that this release does not know are left out.

    Raises:
        InputError: see `parse_config`.
    """
    known = {key: settings[key] for key in cls.model_fields if key in settings}
    return parse_config(cls, known, where=where)


def _read(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return tuple(_read(item) for item in value)
    if isinstance(value, dict):  # the launcher passes mappings in any order
        return {key: _read(value[key]) for key in sorted(value)}
    return value


def _in_words(cls: type[Config], problem: ErrorDetails) -> str:
    key, *inner = problem["loc"] or ("",)
    place = f"{key}" + "".join(f"[{part}]" for part in inner)
    given = f"{place} = {json.dumps(problem['input'], default=repr, ensure_ascii=False)}"
    match problem["type"]:
        case "missing":
            return f"{place} is missing"
        case "extra_forbidden":
            return _unknown_key(cls, str(key))
        case "value_error" if not problem["loc"]:
            return str(problem["ctx"]["error"])  # pyright: ignore[reportTypedDictNotRequiredAccess]
        case "value_error":
            return f"{given} {problem['ctx']['error']}"  # pyright: ignore[reportTypedDictNotRequiredAccess]
        case _:
            return f"{given} {problem['msg'].partition(' ')[2]}"


def _unknown_key(cls: type[Config], key: str) -> str:
    if instead := cls.OLD_KEYS.get(key):
        return f"unknown key {key!r} ({instead})"
    alike = difflib.get_close_matches(key, cls.model_fields, n=1)
    return f"unknown key {key!r}" + (f" (did you mean {alike[0]!r}?)" if alike else "")
