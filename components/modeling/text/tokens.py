"""Title and description as tokens: made once, kept flat, never padded in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from components.core.errors import InputError

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


@dataclass(frozen=True)
class Tokens:
    """The tokens of N text pairs, end to end.

    Attributes:
        ids: (T,) int32, all pairs one after the other, special tokens included.
        types: (T,) uint8, 1 in the second text, or None for encoders without token types.
        offsets: (N + 1,) int64; pair `i` is `ids[offsets[i]:offsets[i + 1]]`.
    """

    ids: np.ndarray
    types: np.ndarray | None
    offsets: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of every pair, (N,) int64."""
        return np.diff(self.offsets)

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Where the tokens of `rows` lie in `ids`, pair after pair: (tokens of rows,) int64."""
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        return np.arange(ends[-1]) + np.repeat(self.offsets[rows] - (ends - lengths), lengths)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, titles: Sequence[str], descriptions: Sequence[str], *, max_tokens: int
) -> Tokens:
    """Tokenizes title and description as a text pair (paper, section 3.1.2) in one call for all products.

    The longer text of a pair is cut first, so that a long description never pushes out the title. A title
    without a description stands alone.

    Raises:
        InputError: the tokenizer has no fast form (a `tokenizer.json`).
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError(
            f"{tokenizer.name_or_path}: its tokenizer has no tokenizer.json; save it once with "
            "AutoTokenizer.from_pretrained(...).save_pretrained(folder) and use that folder"
        )
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(max_tokens, strategy="longest_first")
    titles, descriptions = (_first_words(texts, max_tokens) for texts in (titles, descriptions))
    pairs = [(title, text) if text else title for title, text in zip(titles, descriptions, strict=True)]
    encodings = backend.encode_batch_fast(pairs)
    backend.no_truncation()
    offsets = np.zeros(len(encodings) + 1, np.int64)
    np.cumsum([len(encoding) for encoding in encodings], out=offsets[1:])
    types = None
    if "token_type_ids" in tokenizer.model_input_names:
        types = _flat((encoding.type_ids for encoding in encodings), offsets[-1], np.uint8)
    return Tokens(_flat((encoding.ids for encoding in encodings), offsets[-1], np.int32), types, offsets)


def _first_words(texts: Sequence[str], count: int) -> list[str]:
    """Cuts texts after `count` words: each word is a token at least, so nothing more could be kept."""
    cut = []
    for text in texts:
        rest = text.split(None, count)[count:] if len(text) > 2 * count else []
        cut.append(text[: -len(rest[0])] if rest else text)
    return cut


def _flat(lists: Iterator[list[int]], count: int, dtype: type) -> np.ndarray:
    return np.fromiter(chain.from_iterable(lists), dtype, count=int(count))


def train_tokenizer(texts: Sequence[str], *, vocabulary: int, max_tokens: int) -> PreTrainedTokenizerFast:
    """Learns a byte-pair vocabulary from `texts`, with CamemBERT's special tokens and pair template.

    Lower-cased: a small catalog has too few words to learn two forms of each. Same texts, same vocabulary.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL_TOKENS), min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, SPECIAL_TOKENS.index(token)) for token in ("<s>", "</s>")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=max_tokens,
        model_input_names=["input_ids", "attention_mask"],
    )


def table_tokens(table: pd.DataFrame, tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """Title and description of a table's products as tokens, as many as the tokenizer's longest text has."""
    titles, descriptions = table["title"].tolist(), table["description"].tolist()
    return tokenize(tokenizer, titles, descriptions, max_tokens=tokenizer.model_max_length)
