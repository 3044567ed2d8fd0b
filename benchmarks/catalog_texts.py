"""Texts with the lengths of the paper's catalog, for the text benchmarks; the words mean nothing."""

import numpy as np

SYLLABLES = [consonant + vowel for consonant in "bcdfglmnprstv" for vowel in ("a", "e", "i", "o", "u", "on")]


def catalog_texts(count: int, *, seed: int = 0) -> tuple[list[str], list[str]]:
    """Titles of about 11 words; descriptions with a long tail, 35 % of them empty.

    With a vocabulary of 8,000 pieces learned from them, a pair has about 70 tokens of at most 128, much as
    CamemBERT's has on the paper's catalog.
    """
    random = np.random.default_rng(seed)
    words = np.array(["".join(random.choice(SYLLABLES, random.integers(1, 5))) for _ in range(20_000)])
    rank = np.minimum(random.zipf(1.2, 2_000_000), len(words)) - 1
    rank = np.where(random.random(len(rank)) < 0.4, rank, random.integers(0, len(words), len(rank)))
    titles = np.clip(random.lognormal(np.log(11), 0.4, count), 2, 50).astype(int)
    descriptions = np.clip(random.lognormal(np.log(75), 1.1, count), 3, 2068).astype(int)
    descriptions[random.random(count) < 0.35] = 0
    return _texts(words, rank, titles, random), _texts(words, rank, descriptions, random)


def _texts(
    words: np.ndarray, rank: np.ndarray, lengths: np.ndarray, random: np.random.Generator
) -> list[str]:
    starts = random.integers(0, len(rank) - lengths.max(), len(lengths))
    return [
        " ".join(words[rank[start : start + length]]) for start, length in zip(starts, lengths, strict=True)
    ]
