"""Texts of prompts as unit vectors next to which frames are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from cf.metrics.extractors.base import Extractor
from cf.metrics.measurement import digest

_KNOWN: WeakKeyDictionary[Extractor, dict[str, Tensor]] = WeakKeyDictionary()
"""Vectors of texts: a list of prompts is asked for again and again, and takes long to encode."""


@dataclass(frozen=True)
class Texts:
    """The text of each prompt, and its feature vector of length 1."""

    texts: Mapping[int, str]
    vectors: Mapping[int, Float[Tensor, " d"]]

    @staticmethod
    def of(extractor: Extractor, texts: Mapping[int, str] | None) -> "Texts":
        """By the extractor's text tower.

        Raises:
            ValueError: if it has none, or no text is given.
        """
        encode: Callable[[list[str]], Tensor] | None = getattr(extractor, "encode_text", None)
        if encode is None:
            raise ValueError(
                f"{extractor.name} has no text tower; choose an extractor with encode_text, as "
                f"clip-vit-b32 is"
            )
        if not texts:
            raise ValueError(f"texts={texts} must give the text of each prompt_id")
        cache = _KNOWN.setdefault(extractor, {})
        with torch.no_grad():  # one by one, so that a text's vector never depends on others
            for text in set(texts.values()) - set(cache):
                raw = encode([text])[0].double().cpu()
                cache[text] = torch.nn.functional.normalize(raw, dim=0)
        return Texts(dict(texts), {prompt: cache[text] for prompt, text in texts.items()})

    def likeness(self, prompt: int | None, rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Of features to the text of their prompt, times 100.

        Raises:
            ValueError: if there is no text for it.
        """
        if prompt is None:
            raise ValueError("it has no prompt_id, by which its text is found")
        if prompt not in self.vectors:
            raise ValueError(f"texts= has none for its prompt_id={prompt}")
        return 100 * (rows @ self.vectors[prompt])

    def provenance(self) -> dict[str, Any]:
        """The texts, as a digest."""
        return {"texts": digest({str(prompt): text for prompt, text in self.texts.items()})}
