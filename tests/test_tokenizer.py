"""CLIP's reading of texts: equal to transformers' on a vocabulary made here."""

import gzip
import json
from pathlib import Path

import pytest
import tiny_weights
import torch

from cf.metrics.extractors.clip import ClipExtractor
from cf.metrics.extractors.lookup import MissingWeightsError
from cf.metrics.extractors.tokenizer import Tokenizer, words

transformers = pytest.importorskip("transformers")

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
TEXTS = [
    "The red fox jumps",
    "a  red\n fox's AND they'll jump 42 2024",
    "foxfox!!! ?! the-red, aaaaaaaaa",
    "it's (the) #1 don't they've we're I'm he'd 'tis '''",
    "",
    "an extremely long text " * 30,
    "<|endoftext|> in the middle",
]
FOREIGN = ["naïve café, 東京 ½ x² — the \u201cred\u201d fox\u2019s ok", "👍🏽 e\u0301 Ⅷ ٣"]


def folder(path: Path) -> Path:
    """The files of a tokenizer as Hugging Face keeps them."""
    made = Tokenizer([tuple(line.split()) for line in MERGES])  # type: ignore[misc]
    (path / "vocab.json").write_text(json.dumps(made.vocabulary))
    (path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    return path


def theirs(path: Path, text: str) -> list[int]:
    """Numbers by transformers, start and end left out, cut off as ours."""
    made = transformers.CLIPTokenizer(str(path / "vocab.json"), str(path / "merges.txt"))
    return [int(x) for x in made(text, add_special_tokens=False)["input_ids"]]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_get_the_numbers_that_transformers_gives(text: str, tmp_path: Path) -> None:
    ours = Tokenizer.of(folder(tmp_path) / "merges.txt")
    numbers = ours.encode(text)
    assert numbers == theirs(tmp_path, text)
    assert (numbers == []) == (text == "")


@pytest.mark.parametrize("text", FOREIGN)
def test_foreign_texts_as_well(text: str, tmp_path: Path) -> None:
    """ftfy makes the quotes plain before; transformers is given the mended text."""
    ftfy = pytest.importorskip("ftfy")
    ours = Tokenizer.of(folder(tmp_path) / "merges.txt")
    assert ours.encode(text) == theirs(tmp_path, ftfy.fix_text(text))


def test_openais_own_file_gives_the_same_numbers(tmp_path: Path) -> None:
    lines = ['"bpe_simple_vocab_16e6.txt#version: 0.2', *MERGES]
    path = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    one, other = Tokenizer.of(path), Tokenizer.of(folder(tmp_path) / "merges.txt")
    assert one.vocabulary == other.vocabulary
    assert one.merges == other.merges
    assert one.vocabulary["<|endoftext|>"] == 512 + len(MERGES) + 1 == max(one.vocabulary.values())


def test_texts_stand_between_start_and_end_and_long_ones_are_cut(tmp_path: Path) -> None:
    ours = Tokenizer.of(folder(tmp_path) / "merges.txt")
    start, end = (ours.vocabulary[f"<|{x}oftext|>"] for x in ("start", "end"))
    short, long = ours(["the fox", "the " * 100]).tolist()
    assert short[:5] == [start, ours.vocabulary["the</w>"], ours.vocabulary["fox</w>"], end, 0]
    assert long == [start, *[ours.vocabulary["the</w>"]] * 75, end]
    assert words("a_b") == ["a", "_", "b"]


def test_clip_puts_texts_beside_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_weights.registered(monkeypatch, "clip-vit-b32", "tiny-clip", width=64)
    state = tiny_weights.clip(words=512 + len(MERGES) + 2)
    path = tiny_weights.saved(state, tmp_path / "ViT-B-32.pt")
    clip = ClipExtractor("tiny-clip", path, vocabulary=folder(tmp_path) / "merges.txt")
    features = clip.encode_text(["the red fox", "the fox", "the red fox"])
    assert features.shape == (3, clip.width)
    assert torch.equal(features[0], features[2])
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
