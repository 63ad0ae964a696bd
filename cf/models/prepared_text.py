"""Text states that were encoded before, in place of the encoder that made them."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from cf.data.shard_index import TEXTS
from cf.data.shards import ShardFolder, padded_states
from cf.models.text import States, TextEncoder


class PreparedText(TextEncoder):
    """Looks prompts up among those that `python -m cf.prepare` encoded.

    States are those of the encoder, to the last bit.

    Attributes:
        shards: the prepared folder.
    """

    _here: Tensor

    def __init__(self, shards: ShardFolder) -> None:
        super().__init__()
        if not shards.count(TEXTS):
            raise ValueError(
                f"{shards.folder} holds no encoded texts: prepare it with the network's encoder "
                "(text=umt5), or give text=none for a network that is told no text"
            )
        self.shards = shards
        self.text_len, self.dim = shards.index.text_shape
        self.register_buffer("_here", torch.zeros(0), persistent=False)  # tells the device
        self._numbers: dict[str, int] | None = None

    @classmethod
    def from_folder(cls, folder: str | None) -> Self:
        """Open a folder.

        Args:
            folder: a path, or the address of one in an object store.

        Raises:
            ValueError: it is not given, no prepared folder, or holds no encoded texts.
        """
        if folder is None:
            raise ValueError(
                "text.folder must be given: the folder of python -m cf.prepare that holds the texts"
            )
        return cls(ShardFolder(folder))

    @staticmethod
    def outlined(folder: str | None) -> nn.Module:
        """Nothing: it takes no memory of a card.

        Args:
            folder: as `from_folder` takes it.
        """
        return nn.Module()

    @property
    def encoder_settings(self) -> dict[str, Any]:
        """The settings of the encoder that made the states."""
        return dict(self.shards.index.made["text"])

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> States:
        """States of each prompt, zero beyond its last token.

        Raises:
            ValueError: a prompt was not prepared.
        """
        if self._numbers is None:
            self._numbers = {text: i for i, text in enumerate(self.shards.prompts())}
        missing = next((prompt for prompt in prompts if prompt not in self._numbers), None)
        if missing is not None:
            raise ValueError(
                f"{self.shards.folder} holds no states of the prompt {missing[:60]!r}: prepare a "
                "folder with it (prompts_file=LIST, or negative_prompt=...), or give the encoder "
                "itself (text=umt5)"
            )
        states = [self.shards.text(self._numbers[prompt]).states for prompt in prompts]
        return padded_states(states, (self.text_len, int(self.dim or 0))).to(self._here.device)
