"""Texts and images, and the seconds to which each belongs, as a person types them."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

from cf.files.text import existing_file
from cf.settings.hints import Form, Within, fault

ACTS = Form(
    '[[seconds,text], ...], as in prompts="[[0,a fox],[10,it jumps]]", or - for texts that are '
    "typed meanwhile"
)


IMAGES = Form('[[seconds,image], ...], as in pinned="[[0,a.png],[10,b.png]]"')


def fault_of_acts(prompts: list[Any]) -> str:
    """What is wrong with texts and their seconds, in words; empty if nothing is."""
    if message := _fault(prompts, "prompts", ACTS):
        return message
    times = [act[0] for act in prompts]
    return f"prompts must begin at 0, got {times}" if times and times[0] else ""


def fault_of_images(pinned: list[Any]) -> str:
    """What is wrong with images and their seconds, in words; empty if nothing is."""
    if message := _fault(pinned, "pinned", IMAGES):
        return message
    for _, image in pinned:
        try:
            existing_file(str(image), "image")
        except ValueError as error:
            return f"pinned: {error}"
    return ""


def _fault(pairs: list[Any], name: str, form: Form) -> str:
    for entry in pairs:
        pair = isinstance(entry, list) and len(entry) == 2
        if (
            not pair
            or fault(entry[0], Annotated[float, Within(0, 1e6)])
            or isinstance(entry[1], list)
        ):
            return f"{name} must be {form}; got {entry!r}"
    times = [entry[0] for entry in pairs]
    if any(a >= b for a, b in pairwise(times)):
        return f"{name} must be at rising seconds, got {times}"
    return ""
