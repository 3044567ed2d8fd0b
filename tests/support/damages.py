"""Single damages to what a run left, each tried at the function that reads the thing.

`python tests/support/damages.py [COUNT [NAME ...]]` tries COUNT of them, of each thing that is named so many,
and prints how they ended; `python tests/support/damages.py 400 products issues results` for the tables.
"""

import io
import logging
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from synthetic import write_run  # noqa: E402

from components.client.local.finished_run import read_run, write_record  # noqa: E402
from components.core.errors import InputError  # noqa: E402
from components.data.features import Features, read_features, write_features  # noqa: E402
from components.data.image_store import ImageStore  # noqa: E402
from components.data.probabilities import Classifier, read_classifier, read_classifiers  # noqa: E402
from components.data.products import read_products  # noqa: E402
from components.evaluate.run import run_evaluate  # noqa: E402
from components.reports.page import read_issues  # noqa: E402

COUNT = 650
TABLES, OF_EACH_TABLE = ("products", "issues", "results"), 400
# How a damage ends well: refused with a line, named in a warning, or without effect on what is read.
REFUSED, WARNED, HARMLESS = "refused", "warned of", "harmless"
WELL = (REFUSED, WARNED, HARMLESS)


@dataclass(frozen=True)
class Reader:
    """A thing that a run leaves.

    Attributes:
        read: what lies there, as text to compare; raises InputError.
    """

    name: str
    path: Path
    read: Callable[[Path], str]


def readers(folder: Path) -> list[Reader]:
    """Everything that a run leaves, made in `folder`."""
    run = write_run(folder / "artifacts")
    ids = read_products(run.products).ids
    write_features(folder / "features", Features("a", ids, np.ones((len(ids), 4), np.float32)))
    results = folder / "results"
    run_evaluate(**run.stages, seed=0, metadata={}, results=results)
    write_record(results, parameters={}, seconds=1.0)
    return [
        Reader("products", run.products, lambda path: str(read_products(path).table.to_json())),
        Reader("issues", run.label_issues, lambda path: str(read_issues(path).to_json())),
        Reader("features", folder / "features", lambda path: _array(read_features(path).values)),
        Reader("classifier", run.text[0], lambda path: repr(_matrices(read_classifier(path)))),
        Reader("members", run.members, lambda path: repr([_matrices(one) for one in read_classifiers(path)])),
        Reader("images", run.images, lambda path: _store(ImageStore(path))),
        Reader("results", results, _results),
    ]


def _results(folder: Path) -> str:
    metrics = read_run(folder).metrics
    names = ("predictions.tsv", "predictions_text.tsv", "predictions_image.tsv", "report.html", "summary.md")
    return repr([metrics, *((folder / name).is_file() and (folder / name).read_bytes() for name in names)])


def _array(values: np.ndarray) -> str:
    return f"{values.shape} {values.tobytes().hex()}"


def _matrices(classifier: Classifier) -> list[str]:
    head = [classifier.name, repr(classifier.metadata)]
    return head + [
        f"{name} {split} {matrix.ids.tolist()} {_array(matrix.pred_probs)}"
        for name, splits in classifier.matrices.items()
        for split, matrix in splits.items()
    ]


def _store(store: ImageStore) -> str:
    return repr([(key, store.size(key), bytes(store.encoded(key))) for key in store.keys])


def _flip(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]


def _lose(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _zero(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes(min(64, len(data) - at)) + data[at + 64 :]


def _insert(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + draw.randbytes(1 + draw.randrange(16)) + data[at:]


def _other_digit(data: bytes, draw: random.Random) -> bytes:
    places = [at for at, byte in enumerate(data) if chr(byte) in "0123456789"]
    at = draw.choice(places) if places else 0
    return data[:at] + str((data[at] - 47) % 10).encode() + data[at + 1 :]


CONTENTS: list[Callable[[bytes, random.Random], bytes]] = [
    *(_flip, _lose, _zero, _insert, _other_digit),
    lambda data, _: b"",
    lambda data, _: b"{}",
    lambda data, _: data + data,
]


def damage(folder: Path, draw: random.Random) -> str:
    """Does one damage to a file in a folder; returns what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file, kind = draw.choice(files), draw.randrange(len(CONTENTS) + 3)
    name = file.relative_to(folder)
    if kind < len(CONTENTS):
        file.write_bytes(CONTENTS[kind](file.read_bytes() or b" ", draw))
        return f"{name}: content {kind}"
    if kind == len(CONTENTS):
        file.unlink()
        return f"{name}: deleted"
    if kind == len(CONTENTS) + 1:
        file.with_name("stray" + file.suffix).write_bytes(draw.randbytes(32))
        return f"{name}: a stray file beside it"
    other = draw.choice(files)
    file.write_bytes(other.read_bytes())
    return f"{name}: replaced by {other.relative_to(folder)}"


def outcomes(
    folder: Path, count: int, seed: int, names: Sequence[str] = ()
) -> Iterator[tuple[str, str, str]]:
    """Tries `count` damages, of each thing in `names` so many; yields what was damaged, how, how it ended.

    Another end than those of `WELL` is a fault: another value that nobody was warned of, or a traceback.
    """
    draw = random.Random(seed)
    every = [reader for reader in readers(folder / "whole") if not names or reader.name in names]
    whole = {reader.name: reader.read(reader.path) for reader in every}
    for reader in islice(cycle(every), count * max(1, len(names))):
        copy = folder / "copy"
        shutil.copytree(reader.path, copy)
        done = damage(copy, draw)
        yield reader.name, done, _outcome(reader, copy, whole[reader.name])
        shutil.rmtree(copy)


def _outcome(reader: Reader, copy: Path, whole: str) -> str:
    warnings = io.StringIO()
    logging.basicConfig(level=logging.WARNING, stream=warnings, force=True)
    try:
        read = reader.read(copy)
    except InputError as error:
        return REFUSED if len(str(error)) < 2_000 else f"a long message: {error}"
    except Exception as error:
        return f"traceback: {type(error).__name__}: {error}"
    ending = WARNED if warnings.getvalue() else "silent: another value was read"
    return HARMLESS if read == whole else ending


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, done, end in outcomes(Path(folder), count, seed=0, names=sys.argv[2:]):
            ends[end.split(":")[0]] += 1
            if end not in WELL:
                print(f"{name}: {done}: {end[:200]}")
    print(", ".join(f"{end} {number}" for end, number in sorted(ends.items())))


if __name__ == "__main__":
    main()
