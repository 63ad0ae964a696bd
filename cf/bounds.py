"""Bounds of settings that are numbers, told by the setting's name."""

from collections.abc import Sequence


def check_least(least: float, **settings: float | None) -> None:
    """Raise a ValueError that names the first of these settings below `least`.

    Args:
        least: that each may be.
        **settings: their values; None: left out.
    """
    for name, value in settings.items():
        if value is not None and not value >= least:
            must = "not be negative" if least == 0 else f"be at least {least}"
            raise ValueError(f"{name}={value} must {must}")


def check_above(bound: float, **settings: float | None) -> None:
    """Raise a ValueError that names the first of these settings that is not above `bound`.

    Args:
        bound: that none may be.
        **settings: their values; None: left out.
    """
    for name, value in settings.items():
        if value is not None and not value > bound:
            raise ValueError(f"{name}={value} must be above {bound}")


def check_share(**settings: float | None) -> None:
    """Raise a ValueError that names the first of these settings outside 0 to 1.

    Args:
        **settings: their values; None: left out.
    """
    for name, value in settings.items():
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name}={value} must lie in 0..1")


def pair_below_one(**setting: Sequence[float]) -> tuple[float, float]:
    """Two numbers from 0 on and below 1, as AdamW's betas are.

    Args:
        **setting: one, by its name.

    Raises:
        ValueError: it is another list.
    """
    ((name, values),) = setting.items()
    if len(values) != 2 or not all(0 <= value < 1 for value in values):
        raise ValueError(f"{name}={list(values)} must be two numbers from 0 on and below 1")
    first, second = values
    return first, second
