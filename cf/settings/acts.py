"""Texts and the seconds at which each begins, as a person types them."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

from cf.settings.build import Form, Within, fault

ACTS = Form(
    '[[seconds,text], ...], as in prompts="[[0,a fox],[10,it jumps]]", or - for texts that are '
    "typed meanwhile"
)


def fault_of_acts(prompts: list[Any]) -> str:
    """What is wrong with texts and their seconds, in words; empty if nothing is."""
    for act in prompts:
        pair = isinstance(act, list) and len(act) == 2
        if not pair or fault(act[0], Annotated[float, Within(0, 1e6)]) or isinstance(act[1], list):
            return f"prompts must be {ACTS}; got {act!r}"
    times = [act[0] for act in prompts]
    if times and (times[0] != 0 or any(a >= b for a, b in pairwise(times))):
        return f"prompts must begin at 0 and at rising seconds after, got {times}"
    return ""
