"""CLIP's byte-pair encoding of texts."""

import gzip
import html
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
_MERGES = 49152 - 256 - 2  # of those in OpenAI's file, CLIP uses the first
_CONTRACTION = re.compile(r"'(?:s|t|re|ve|m|ll|d)")


class Tokenizer:
    """CLIP's lower-cased byte-pair encoding.

    Attributes:
        vocabulary: number of each token.
        merges: rank of each pair of tokens that is merged.
    """

    def __init__(
        self, merges: Sequence[tuple[str, str]], vocabulary: dict[str, int] | None = None
    ) -> None:
        self.merges = {pair: rank for rank, pair in enumerate(merges)}
        self.vocabulary = vocabulary or _vocabulary(merges)

    @classmethod
    def of(cls, path: Path) -> "Tokenizer":
        """From OpenAI's gzipped list of merges, or a merges.txt with a vocab.json beside it."""
        if path.suffix == ".gz":
            lines = gzip.decompress(path.read_bytes()).decode().split("\n")[1 : _MERGES + 1]
            return cls(_pairs(lines))
        merges = _pairs(path.read_text(encoding="utf-8").split("\n"))
        numbers = path.with_name("vocab.json")
        known = json.loads(numbers.read_text(encoding="utf-8")) if numbers.is_file() else None
        return cls(merges, known)

    def __call__(self, texts: Sequence[str], length: int = 77) -> Int[Tensor, "n length"]:
        """Numbers of tokens between a start and an end, then zeros; what is too long is cut."""
        tokens = torch.zeros(len(texts), length, dtype=torch.long)
        start, end = self.vocabulary[_START], self.vocabulary[_END]
        for row, text in zip(tokens, texts, strict=True):
            numbers = [start, *self.encode(text)[: length - 2], end]
            row[: len(numbers)] = torch.tensor(numbers)
        return tokens

    def encode(self, text: str) -> list[int]:
        """Numbers of a text's tokens."""
        letters = _byte_letters()
        numbers = []
        for word in words(clean(text)):
            if word in (_START, _END):
                numbers.append(self.vocabulary[word])
                continue
            spelt = "".join(letters[byte] for byte in word.encode())
            numbers += [self.vocabulary[token] for token in self._merged(spelt)]
        return numbers

    def _merged(self, spelt: str) -> list[str]:
        tokens = [*spelt[:-1], spelt[-1] + _WORD_END]
        while len(tokens) > 1:
            ranks = [self.merges.get(pair, len(self.merges)) for pair in pairwise(tokens)]
            best = min(ranks)
            if best == len(self.merges):
                break
            first, second = tokens[ranks.index(best)], tokens[ranks.index(best) + 1]
            joined: list[str] = []
            at = 0
            while at < len(tokens):
                both = tokens[at : at + 2] == [first, second]
                joined.append(first + second if both else tokens[at])
                at += 2 if both else 1
            tokens = joined
        return tokens


def clean(text: str) -> str:
    """A text as CLIP was trained on: entities resolved, spaces single, lower case.

    OpenAI's own cleaning mends broken Unicode with `ftfy`, which changes no plain ASCII.

    Raises:
        ValueError: if a text is not ASCII, and `ftfy` is not installed.
    """
    if not text.isascii():
        try:
            import ftfy
        except ImportError as error:
            raise ValueError(
                f"{text[:60]!r} is not plain ASCII, and CLIP's reading of it needs ftfy: "
                "pip install ftfy"
            ) from error
        text = ftfy.fix_text(text)
    text = html.unescape(html.unescape(text))
    return " ".join(text.split()).lower()


def words(text: str) -> list[str]:
    """Runs of letters, single digits, runs of other signs, and English contractions.

    >>> words("it's 42, okay?!")
    ['it', "'s", '4', '2', ',', 'okay', '?!']
    """
    found = []
    at = 0
    while at < len(text):
        special = next((x for x in (_START, _END) if text.startswith(x, at)), None)
        contraction = _CONTRACTION.match(text, at)
        kind = _kind(text[at])
        if special or contraction:
            stop = at + len(special or contraction[0])  # type: ignore[index]
        else:
            stop = at + 1
            while kind not in "N " and stop < len(text) and _kind(text[stop]) == kind:
                stop += 1
        if kind != " ":
            found.append(text[at:stop])
        at = stop
    return found


def _kind(sign: str) -> str:
    if sign.isspace():
        return " "
    category = unicodedata.category(sign)[0]
    return category if category in "LN" else "other"


def _pairs(lines: Iterable[str]) -> list[tuple[str, str]]:
    split = [line.split() for line in lines if line and not line.startswith("#version")]
    return [(first, second) for first, second in split]


def _byte_letters() -> dict[int, str]:
    """A printable letter for each byte: itself where it is printable, others from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(256 + i) for i, byte in enumerate(others)}


def _vocabulary(merges: Sequence[tuple[str, str]]) -> dict[str, int]:
    letters = list(_byte_letters().values())
    tokens = [*letters, *(letter + _WORD_END for letter in letters)]
    tokens += ["".join(pair) for pair in merges]
    return {token: number for number, token in enumerate([*tokens, _START, _END])}
