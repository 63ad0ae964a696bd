"""Whose turn it is where student and critic are trained by one loop of Lightning's."""

from typing import Any, NamedTuple

import lightning as L  # noqa: N812  (its usual name)


class Turn(NamedTuple):
    """Who is trained on this batch, and whether the batch begins and completes an update."""

    critic: bool
    first: bool
    steps: bool


def listed(one_or_many: Any) -> list[Any]:
    """Lightning gives a single optimiser or schedule bare."""
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


def check_trainer(trainer: L.Trainer) -> None:
    """Refuse settings of a trainer with which student and critic cannot take turns.

    Raises:
        ValueError: names the setting and what to give instead.
    """
    for setting, usual, replacement in (
        ("gradient_clip_val", None, "clip"),
        ("accumulate_grad_batches", 1, "accumulate"),
    ):
        if getattr(trainer, setting) != usual:
            raise ValueError(
                f"trainer.{setting}={getattr(trainer, setting)} does not reach student and "
                f"critic, who take turns; set it to {'null' if usual is None else usual} and "
                f"give module.{replacement}"
            )
    if str(trainer.precision).startswith("16"):
        raise ValueError("distillation runs in 32-true or bf16-mixed; give trainer.precision")
    strategy = trainer.strategy
    if isinstance(strategy, L.pytorch.strategies.DDPStrategy) and not strategy._ddp_kwargs.get(
        "find_unused_parameters"
    ):
        raise ValueError(
            "student and critic take turns, so that each leaves the other's parameters unused; "
            "give trainer.strategy=ddp_find_unused_parameters_true"
        )
