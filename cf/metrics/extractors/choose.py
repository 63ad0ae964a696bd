"""Extractors by name; none is chosen automatically or replaces another."""

from collections.abc import Callable
from typing import Any

from cf.metrics.extractors.base import Extractor
from cf.metrics.extractors.clip import ClipExtractor
from cf.metrics.extractors.dino import Dino
from cf.metrics.extractors.efficientnet import EfficientNetLite
from cf.metrics.extractors.handcrafted import Handcrafted
from cf.metrics.extractors.registry import ENTRIES

NAMES = (Handcrafted.name, *(name for name, published in ENTRIES.items() if published.width))
"""Of all extractors."""


def extractor(name: str, **settings: Any) -> Extractor:
    """The extractor of that name; settings are those of its class, such as `weights` and `device`.

    Raises:
        ValueError: if there is none.
        MissingWeightsError: if its weights are not on this machine.

    >>> extractor("handcrafted-v2").width
    104
    """
    if name not in NAMES:
        raise ValueError(f"no extractor is named {name!r}; choose one of {', '.join(NAMES)}")
    if name == Handcrafted.name:
        return Handcrafted(**settings)
    make: Callable[..., Extractor] = ClipExtractor if ENTRIES[name].text else Dino
    if name.startswith("efficientnet"):
        make = EfficientNetLite
    return make(name, **settings)
