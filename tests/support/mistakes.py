"""Mistakes that people make with the command line, generated over all its options and keys.

`python tests/support/mistakes.py` tries all of them in this process and prints what is wrong with an answer.
"""

import json
import logging
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from tiny_catalog import TinyCatalog  # noqa: E402

from components.client.presets import PRESETS  # noqa: E402
from components.denoise.config import DenoiseConfig  # noqa: E402
from components.ensemble.config import EnsembleConfig  # noqa: E402
from components.fusion.config import FUSION_KINDS  # noqa: E402
from components.image.config import IMAGE_KINDS  # noqa: E402
from components.lifecycle.config import DriftConfig, GateConfig, RegistriesConfig  # noqa: E402
from components.preprocess.config import PreprocessConfig  # noqa: E402
from components.text.config import TEXT_KINDS  # noqa: E402
from pipeline import build_pipeline, main  # noqa: E402

# Of these commands every option is tried; the others start, end or change something elsewhere.
COMMANDS = ("check", "compile", "fuse", "show")
LINES = 10  # of an answer, beside the list of the first twenty rows, which is indented
# What says what to do: an answer holds one of these words.
REMEDY = re.compile(
    r"expected|did you mean|try |name |set |use |write|give|choose|mend|take |known keys|must be|one of|"
    r"start it|add |allow|is called|see |no such option|option|missing|does not exist|at least|needs |"
    r": not an? |: not the ",
    re.IGNORECASE,
)
WRONG_VALUES = ("NaN", "-1", '"banana"', "[]", "{}", "null", "1e999", "[1, {}]", "true", '"{{$x}}"', "{")


@dataclass(frozen=True)
class Mistake:
    """A command line, and what its refusal has to name."""

    arguments: list[str]
    names: str


def mistakes(folder: Path) -> list[Mistake]:
    """All of them, in an order that is the same in every process."""
    catalog = TinyCatalog(folder)
    sources = vars(catalog.write())
    good = [part for name, path in sources.items() if path for part in (f"--{name.replace('_', '-')}", path)]
    spoiled = [
        Mistake(["check", *_with(good, option, path)], Path(path).name) for option, path in _files(folder)
    ]
    everything = [*_of_options(), *_of_parameters(), *_of_keys(), *_of_columns(good)]
    random.Random(0).shuffle(everything)
    return [*spoiled, *everything]


def _with(good: list[str], option: str, path: str) -> list[str]:
    kept = [part for at, part in enumerate(good) if option not in (part, good[at - 1])]
    return [*kept, option, path]


def _typo(name: str) -> str:
    return f"{name[:-2]}{name[-1]}{name[-2]}" if name[-1] != name[-2] else f"{name}x"


def _of_options() -> Iterator[Mistake]:
    for name in COMMANDS:
        for option in main.commands[name].params:
            if not isinstance(option, click.Option) or option.is_flag:
                continue
            long = max(option.opts, key=len)
            yield Mistake([name, _typo(long), "x"], _typo(long))
            yield Mistake([name, long], long)
            if not isinstance(option.type, click.types.StringParamType) and long != "--output":
                yield Mistake([name, long, "no/such\x01thing"], long)


def _of_parameters() -> Iterator[Mistake]:
    inputs = build_pipeline(PRESETS["laptop"]).component_spec.inputs  # type: ignore[attr-defined]
    for key, one in inputs.items():
        yield Mistake(["check", "--param", f"{_typo(key)}=1"], _typo(key))
        yield Mistake(["check", "--param", key], key)
        for value in WRONG_VALUES if one.type != "String" else ('"{{$x}}"', "null", '"a\\u0000"'):
            if not _is_right(one.type, value):
                yield Mistake(["check", "--param", f"{key}={value}"], key)


def _is_right(expected: str, value: str) -> bool:
    return (expected, value) in {("Dict", "{}"), ("List[Dict]", "[]"), ("Boolean", "true")}


def _of_keys() -> Iterator[Mistake]:
    whole = {
        "preprocess_config": PreprocessConfig,
        "denoise_config": DenoiseConfig,
        "ensemble_config": EnsembleConfig,
        "models_gate": GateConfig,
        "models_registries": RegistriesConfig,
        "drift_config": DriftConfig,
    }
    for parameter, config in whole.items():
        yield from _of_config(parameter, config, {}, many=False)
    for registry in (TEXT_KINDS, IMAGE_KINDS, FUSION_KINDS):
        for kind in registry.kinds().values():
            base = {"name": "a", "kind": kind.name}
            yield from _of_config(f"{registry.stage}_configs", kind.config, base, many=True)


def _of_config(parameter: str, config: Any, base: dict[str, Any], *, many: bool) -> Iterator[Mistake]:
    def mistake(key: str, value: Any) -> Mistake:
        values = json.dumps([base | {key: value}] if many else {key: value})
        return Mistake(["check", "--param", f"{parameter}={values}"], key)

    for key in config.model_fields:
        yield mistake(_typo(key), 1)
        yield mistake(key, {"banana": [None]})
        yield mistake(key, -7.5)


def _of_columns(good: list[str]) -> Iterator[Mistake]:
    for text, named in (
        ("title=Title", "product_id"),
        ("product_id=Product_id,title=Name,code=Type", "Name"),
        ("product_id=Product_id,title=Title,code=Kind,titel=Title", "titel"),
        ("product_id", "product_id"),
        ("product_id=,title=Title,code=Prdtypecode", "product_id"),
        ("product_id=Product_id,title=Title,title=Title,code=Prdtypecode", "title"),
    ):
        yield Mistake(["check", *good, "--columns", text], named)


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """Options, each with a file that is not what the option wants."""
    contents = {
        "empty.tsv": b"",
        "header.tsv": b"Integer_id\tTitle\tDescription\tImage_id\tProduct_id\n",
        "page.html": b"<!DOCTYPE html><p>Sign in</p>",
        "book.xls": b"\xd0\xcf\x11\xe0" + bytes(600),
        "noise.bin": random.Random(0).randbytes(3000),
        "broken.json": b'{"a": ',
        "list.json": b"[1, 2]",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    tables = ("--products", "--labels", "--test-products", "--test-labels", "--corrections")
    for option in (*tables, "--class-names", "--earlier-profile"):
        for name in contents:
            is_json = option in ("--class-names", "--earlier-profile")
            no_rows = name == "header.tsv" and (is_json or option == "--test-products")  # those are reported
            if not no_rows:
                yield option, str(folder / name)
    yield "--images", str(folder / "noise.bin")
    yield "--test-images", str(folder / "page.html")
    yield "--products", str(folder / "Y_train.tsv")
    yield "--labels", str(folder / "X_train.tsv")
    yield "--test-products", str(folder / "X_train.tsv")


def faults(mistake: Mistake) -> list[str]:
    """What is wrong with the answer to a mistake; nothing where it is a good one."""
    logging.disable(logging.INFO)
    done = CliRunner().invoke(main, mistake.arguments)
    logging.disable(logging.NOTSET)
    answer = done.output
    lines = [line for line in answer.splitlines() if not line.startswith("  ")]
    wanted = {
        f"ended with {done.exit_code}: {done.exception!r}": done.exit_code == 2,
        "a traceback": "Traceback" not in answer,
        f"does not name {mistake.names!r}": mistake.names in answer.replace("\\x01", "\x01"),
        f"{len(lines)} lines": len(lines) <= LINES,
        "no remedy": bool(REMEDY.search(answer)),
    }
    return [fault for fault, fine in wanted.items() if not fine]


def report() -> None:
    """Tries all and prints the bad answers."""
    with tempfile.TemporaryDirectory() as folder:
        every = mistakes(Path(folder))
        wrong = 0
        for mistake in every:
            if found := faults(mistake):
                wrong += 1
                answer = CliRunner().invoke(main, mistake.arguments).output
                print(
                    " ".join(mistake.arguments)[-300:],
                    "\n   ",
                    "; ".join(found),
                    "\n   ",
                    answer[-700:].strip(),
                )
        print(f"{len(every)} mistakes, {wrong} answered wrongly")


if __name__ == "__main__":
    report()
