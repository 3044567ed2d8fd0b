"""Cleaning 85,000 products' titles and descriptions, against the same rules by pandas' `apply`.

    python benchmarks/cleaning.py                 85,000 products
    python benchmarks/cleaning.py --products 5000

A fifth of the descriptions holds tags and entities, a tenth accents. The usual way applies every rule to
every text; ours asks first whether there is anything to do. CPU time, in turns, the shortest of some; the
texts must be equal.
"""

import argparse
import html
import platform
import re
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.catalog_texts import catalog_texts
from components.preprocess.catalog.cleaning import clean_text

TAG = re.compile(r"<[a-zA-Z/!][^<>]*>")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
SPACE = re.compile(r"\s+")
MARKUP = (" <br />", " <b>", "</b> ", "l&#39;", "&eacute;", " &amp; ", " <li class='a'>", "&nbsp;")


def clean_all_rules(text: str) -> str:
    """The rules of `clean_text`, each on every text."""
    for _ in range(2):
        text = html.unescape(TAG.sub(" ", text))
    text = unicodedata.normalize("NFC", TAG.sub(" ", text))
    return SPACE.sub(" ", CONTROL.sub(" ", text)).strip()


def with_markup(texts: list[str], *, seed: int = 0) -> list[str]:
    """A fifth of the texts with tags and entities between some words, a tenth with accents."""
    random = np.random.default_rng(seed)
    kinds = random.random(len(texts))
    marked = []
    for text, kind in zip(texts, kinds, strict=True):
        if kind < 0.2:
            words = text.split(" ")
            pieces = random.choice(MARKUP, len(words) // 8 + 1).tolist()
            text = "".join(
                f"{pieces[place // 8]}{word} " if place % 8 == 0 else f"{word} "
                for place, word in enumerate(words)
            )
        elif kind < 0.3:
            text = text.replace("e", "é")
        marked.append(text)
    return marked


def shortest(
    work: dict[str, Callable[[], list[str]]], rounds: int
) -> tuple[dict[str, float], list[list[str]]]:
    """The shortest CPU time of each, run in turns, and what each made."""
    seconds, made = dict.fromkeys(work, np.inf), {}
    for _ in range(rounds):
        for name, run in work.items():
            started = time.process_time()
            made[name] = run()
            seconds[name] = min(seconds[name], time.process_time() - started)
    return seconds, list(made.values())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, default=85_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    titles, descriptions = catalog_texts(options.products)
    texts = [*titles, *with_markup(descriptions)]
    column = pd.Series(texts)
    seconds, made = shortest(
        {
            "ours": lambda: [clean_text(text) for text in texts],
            "the same function by apply": lambda: column.apply(clean_text).tolist(),
            "every rule, by apply": lambda: column.apply(clean_all_rules).tolist(),
        },
        options.rounds,
    )
    for other in made[1:]:
        if different := [text for text, one, two in zip(texts, made[0], other, strict=True) if one != two]:
            raise SystemExit(f"{len(different)} texts are cleaned otherwise, the first: {different[0]!r}")
    print(f"{platform.processor() or platform.machine()}, one thread, {options.products} products\n")
    print(f"{'':30}{'CPU seconds':>12}{'ratio':>8}")
    for name, taken in seconds.items():
        print(f"{name:30}{taken:12.2f}{taken / seconds['ours']:8.2f}")


if __name__ == "__main__":
    main()
