"""A tiny random umT5 with its tokenizer, in the layout that it is published in."""

from pathlib import Path

import pytest
import torch

WORDS = ("<pad>", "</s>", "<unk>", "a", "red", "cat", "runs")


def published(place: Path) -> Path:
    """The folder, with the encoder and the tokenizer written into it."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    torch.manual_seed(0)
    encoder = transformers.UMT5EncoderModel(
        transformers.UMT5Config(
            vocab_size=len(WORDS), d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4
        )
    )
    tokenizer.save_pretrained(place / "tokenizer")
    encoder.save_pretrained(place / "text_encoder")
    return place
