"""What settings of sampling say of guidance, and what of them contradicts itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_type_hints

from cf.settings.build import Settings
from cf.settings.hints import fault
from cf.settings.sampling import Sampling

if TYPE_CHECKING:
    from cf.rollout.blockwise import Rollout

ITSELF = "own"
"""The guide that is the network itself."""
OF_GUIDANCE = {
    "guidance": "",
    "guidance_times": "2",
    "negative_prompt": "5, or as the network's authors do",
    "guide": "2",
}
"""Settings of it, and a scale for those that are given without one."""
_HINTS = get_type_hints(Sampling, include_extras=True)


def guide_of(settings: Settings) -> str | None:
    """Weights of the network by which settings have another one guided; None where none does.

    Raises:
        ValueError: what is given is no path.
    """
    guide = settings["sampling"].get("guide")
    if message := fault(guide, _HINTS["guide"]):
        raise ValueError(f"sampling.guide must be {message}, got {guide!r}")
    return None if guide is None or guide == ITSELF else str(guide)


def guidance_of(told: Settings, text: Settings, rollout: Rollout) -> Settings:
    """Of `cf.runs.outline.Way`, what guides the network; nothing if nothing does.

    Args:
        told: settings of `OF_GUIDANCE`, those that are given.
        text: of the text encoder.
        rollout: at whose times the network is asked.

    Raises:
        ValueError: guidance without anything to lead away from or at no time, or what is for
            guidance without it.
    """
    from cf.models.guided import check_guidance_times

    for name, value in told.items():
        if message := fault(value, _HINTS[name]):
            raise ValueError(f"sampling.{name} must be {message}, got {value!r}")
    scale, guide = float(told.get("guidance", 1)), told.get("guide")
    negative = told.get("negative_prompt", "")
    times = check_guidance_times(told.get("guidance_times", (0, 1)), "sampling.guidance_times")
    if scale == 1:
        for name, value in told.items():
            if name != "guidance" and value:
                raise ValueError(
                    f"sampling.{name}={value} is for guidance: give "
                    f"sampling.guidance={OF_GUIDANCE[name]}"
                )
        return {}
    how = {"guidance": scale, "guidance_times": times}
    model_times = sorted({*rollout.times, *rollout.times_at(0)}, reverse=True)
    if not any(times[0] <= t <= times[1] for t in model_times):
        raise ValueError(
            f"sampling.guidance_times={list(times)} hold none of the times at which this network "
            f"is asked, {', '.join(f'{t:.4g}' for t in model_times)}: nothing would be guided"
        )
    if guide is not None and negative:
        raise ValueError(
            f"sampling.negative_prompt={negative!r} and sampling.guide={guide}: a network is led "
            "away from one thing; leave one of them out"
        )
    if guide is not None:
        return {**how, "guide": guide}
    if str(text.get("_target_", "")).endswith("NoText"):
        raise ValueError(
            f"sampling.guidance={scale:g}: this model is not conditioned on text, so there is "
            "no text to lead it away from; give a weaker network, sampling.guide=RUN, or the "
            f"network itself without its past, sampling.guide={ITSELF}, or leave guidance out"
        )
    return {**how, "negative": negative}
