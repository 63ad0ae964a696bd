"""CLIP's vocabulary as published, for the byte-pair encoding of `transformers`."""

import gzip
import html
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cf.files.text import MOST_BYTES, read_json_file, text_of
from cf.metrics.extractors.hugging_face import transformers

_ENDS = ("<|startoftext|>", "<|endoftext|>")
_WORD_END = "</w>"
_MERGES = 49152 - 256 - 2  # of those in OpenAI's file, CLIP uses the first


def tokenizer(path: Path) -> Any:
    """CLIP's, from OpenAI's gzipped list of merges or a merges.txt with a vocab.json beside it.

    Raises:
        ValueError: if a file is damaged, too large, or no such list.
    """
    numbers = path.with_name("vocab.json")
    if path.suffix == ".gz":
        merges = _pairs(path, _unpacked(path).split("\n")[1 : _MERGES + 1])
        vocabulary = _vocabulary(merges)
    else:
        merges = _pairs(path, text_of(path, "list of merges").split("\n"))
        vocabulary = read_json_file(numbers) if numbers.is_file() else _vocabulary(merges)
    return transformers().CLIPTokenizer(vocab=vocabulary, merges=merges)


def clean_caption(text: str) -> str:
    """A text as CLIP was trained on: broken Unicode repaired, entities resolved.

    The repair is `ftfy`'s, which changes no plain ASCII.

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
    return html.unescape(html.unescape(text)).strip()


def _unpacked(path: Path) -> str:
    try:
        with gzip.open(path) as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) <= MOST_BYTES:
            return data.decode()
        why = f"it has more than {MOST_BYTES:,} bytes"
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        why = str(error)
    raise ValueError(f"{path} is no gzipped list of merges ({why}); download it again")


def _pairs(path: Path, lines: Iterable[str]) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if parts and not line.startswith("#version"):
            if len(parts) != 2:
                raise ValueError(f"{path}, line {number}: {line[:40]!r} is no merge of two parts")
            pairs.append((parts[0], parts[1]))
    return pairs


def _vocabulary(merges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Bytes, bytes at a word's end, merges, then start and end: the order that numbers tokens."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    table: Any = bytes_to_unicode  # without types
    letters = list(table().values())
    tokens = [*letters, *(letter + _WORD_END for letter in letters), *map("".join, merges)]
    return {token: number for number, token in enumerate([*tokens, *_ENDS])}
