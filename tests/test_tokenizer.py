"""CLIP's reading of texts, on a vocabulary made here: the numbers of before it was a library's."""

import gzip
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_weights
import torch

from cf.metrics.extractors.clip import ClipExtractor
from cf.metrics.extractors.lookup import MissingWeightsError
from cf.metrics.extractors.tokenizer import clean_caption, tokenizer

pytest.importorskip("transformers")

MERGES = [
    "t h",
    "th e</w>",
    "r e",
    "re d</w>",
    "f o",
    "fo x</w>",
    "j u",
    "ju m",
    "p s</w>",
    "jum ps</w>",
    "a n",
    "an d</w>",
    "4 2</w>",
    "' s</w>",
    "! !",
    "!! !</w>",
    "a a",
    "aa aa",
]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("merges.txt", b"#version\nt h\nt h e\n", "merges.txt, line 3: 't h e' is no merge"),
        ("merges.txt", b"\xff\xfe\xff", "merges.txt"),
        ("bpe.txt.gz", gzip.compress(bytes(2**26 + 1), mtime=0), "has more than 67,108,864 bytes"),
        ("bpe.txt.gz", gzip.compress(b"#\nt h\n", mtime=0)[:-5], "is no gzipped list of merges"),
    ],
)
def test_lists_of_merges_name_file_and_line(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=told):
        tokenizer(tmp_path / name)


OLD = {
    "The red fox jumps": "513 515 517 521",
    "a  red\n fox's AND they'll jump 42 2024": """320 515 517 525 523 512 68 344 6 75 331 519 335
        275 273 273 271 273 275""",
    "foxfox!!! ?! the-red, aaaaaaaaa": "516 87 517 527 30 256 513 268 515 267 529 529 320",
    "it's (the) #1 don't they've we're I'm he'd 'tis '''": """72 339 525 263 513 264 258 272 67
        78 333 6 339 512 68 344 6 85 324 86 324 6 81 324 328 6 332 71 324 6 323 6 339 72 338 6 6
        262""",
    "": "",
    "<|endoftext|> in the middle": "531 72 333 513 76 72 67 67 75 324",
    "naïve café, 東京 ½ x² \u2014 the \u201cred\u201d fox\u2019s ok": """77 64 127 107 85 324 66 64
        69 127 358 267 162 251 109 160 118 361 126 377 343 126 366 158 222 498 513 257 515 257 517
        525 78 330""",
    "\U0001f44d\U0001f3fd e\u0301 \u2167 \u0663": """172 253 239 235 172 253 237 377 127 358 158 227
        371 149 352""",
}
"""Numbers by the tokenizer that this project wrote by hand, equal to transformers' until 0.1."""


def folder(path: Path) -> Path:
    """The files of a tokenizer as Hugging Face keeps them."""
    (path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    (path / "vocab.json").write_text(json.dumps(tokenizer(path / "merges.txt").get_vocab()))
    return path


def encoded(made: Any, text: str) -> list[int]:
    return [int(x) for x in made(clean_caption(text), add_special_tokens=False)["input_ids"]]


@pytest.mark.parametrize("text", OLD)
def test_texts_get_the_numbers_of_before(text: str, tmp_path: Path) -> None:
    if not text.isascii():
        pytest.importorskip("ftfy")  # makes curly quotes plain
    made = tokenizer(folder(tmp_path) / "merges.txt")
    assert encoded(made, text) == [int(x) for x in OLD[text].split()]


def test_openais_own_file_gives_the_same_numbers(tmp_path: Path) -> None:
    lines = ['"bpe_simple_vocab_16e6.txt#version: 0.2', *MERGES]
    path = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    one, other = tokenizer(path), tokenizer(folder(tmp_path) / "merges.txt")
    assert one.get_vocab() == other.get_vocab()
    assert max(one.get_vocab().values()) == one.eos_token_id == 512 + len(MERGES) + 1
    assert all(encoded(one, text) == encoded(other, text) for text in OLD if text.isascii())


def test_html_is_read_and_foreign_text_without_ftfy_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert clean_caption(" a &amp;amp; b ") == "a & b"
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(ValueError, match="pip install ftfy"):
        clean_caption("caf\u00e9")


def test_clip_puts_texts_beside_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_weights.registered(monkeypatch, "clip-vit-b32", "tiny-clip", width=64)
    state = tiny_weights.clip(words=512 + len(MERGES) + 2)
    path = tiny_weights.saved(state, tmp_path / "ViT-B-32.pt")
    clip = ClipExtractor("tiny-clip", path, vocabulary=folder(tmp_path) / "merges.txt")
    features = clip.encode_text(["the red fox", "the fox", "the red fox", "the " * 75, "the " * 99])
    assert features.shape == (5, clip.width)
    assert torch.equal(features[0], features[2])
    assert torch.equal(features[3], features[4]), "what follows token 75 is not read"
    assert torch.equal(
        pickle.loads(pickle.dumps(clip)).encode_text(["the red fox"])[0], features[0]
    )
    assert not torch.allclose(features[0], features[1])
    assert clip.encode_text([]).shape == (0, 64)
    assert clip(torch.rand(1, 3, 20, 30)).shape == (1, 64)


def test_without_a_vocabulary_texts_raise_and_pictures_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("CF_WEIGHTS", "HF_HOME", "TORCH_HOME", "VBENCH_CACHE_DIR", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    tiny_weights.registered(monkeypatch, "clip-vit-b32", "tiny-clip", width=64)
    clip = ClipExtractor("tiny-clip", tiny_weights.saved(tiny_weights.clip(), tmp_path / "c.pt"))
    assert clip(torch.rand(1, 3, 20, 30)).shape == (1, 64)
    with pytest.raises(MissingWeightsError, match=r"cf\.weights fetch clip-bpe"):
        clip.encode_text(["a fox"])
