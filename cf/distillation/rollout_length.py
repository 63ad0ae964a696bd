"""How long a self-rollout is, as a function of the student step."""

from collections.abc import Sequence
from dataclasses import dataclass

from cf.seeding import seeded


@dataclass(frozen=True)
class Length:
    """Evenly from `least` frames to a bound that grows from `least` to `most`.

    Context Forcing's curriculum (https://arxiv.org/abs/2602.06028, Algorithm 1): at step s the
    length in blocks is drawn from L0 ... L0 + floor(min(1, s / grow_steps) (L1 - L0)). One length
    holds for every sample and rank of a step.

    >>> Length(least=6, most=24, block_frames=3, grow_steps=100).bound(50)
    15

    Attributes:
        least, most: frames, given ones included.
        grow_steps: student steps until the bound is `most`; 0: from the start.
    """

    least: int = 24
    most: int = 24
    block_frames: int = 3
    grow_steps: int = 0

    def __post_init__(self) -> None:
        if self.block_frames < 1:
            raise ValueError(f"length.block_frames={self.block_frames} must be at least 1")
        for name in ("least", "most"):
            value = getattr(self, name)
            if value < 1 or value % self.block_frames:
                raise ValueError(
                    f"length.{name}={value} must be a positive multiple of "
                    f"block_frames={self.block_frames}"
                )
        if self.least > self.most or self.grow_steps < 0:
            raise ValueError(
                f"length.least={self.least} must not exceed length.most={self.most}, and "
                f"grow_steps={self.grow_steps} not be negative"
            )

    def bound(self, step: int) -> int:
        """The longest rollout at a student step, in frames."""
        share = min(step / self.grow_steps, 1.0) if self.grow_steps else 1.0
        blocks = int(share * (self.most - self.least) / self.block_frames)
        return self.least + blocks * self.block_frames

    def __call__(self, step: int, *key: int) -> int:
        """The frames of a rollout at a student step; `key` says which rollout of it."""
        choices = (self.bound(step) - self.least) // self.block_frames + 1
        return self.least + drawn(choices, *key) * self.block_frames


def drawn(choices: int, *key: int) -> int:
    """A whole number below `choices`, the same for all who share the key."""
    import torch

    return int(torch.randint(choices, (), generator=seeded(*key)))


def check_prefix(blocks: Sequence[int], name: str) -> None:
    """Refuse what does not say how much real video a rollout starts from.

    Args:
        blocks: the least and the most.
        name: of the setting, for the message.

    Raises:
        ValueError: if they are not two numbers that rise from 0 or more.
    """
    if len(blocks) != 2 or not 0 <= blocks[0] <= blocks[1]:
        raise ValueError(
            f"{name} must be [least, most] with 0 <= least <= most, got {list(blocks)}"
        )
