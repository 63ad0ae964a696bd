"""Which videos are to be made: of one text, of a script, or of each prompt in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cf.data.prompt_list import prompts_of
from cf.data.script import Script, script_of
from cf.files.naming import folded
from cf.settings.build import Settings

TYPED = "-"
"""`prompts=-`: texts are typed while the video is made."""


@dataclass(frozen=True)
class VideoRequest:
    """A video to be made.

    Attributes:
        name: of its file, without the suffix.
        script: seconds of the new video and the text that holds from then on.
        sample: the number from which its noise is drawn, together with the seed.
        where: who asks for it, as the beginning of a message.
    """

    name: str
    script: Script
    sample: int
    where: str = "prompts"

    @property
    def seconds(self) -> list[float]:
        """When its texts begin."""
        return [at for at, _ in self.script]

    def described(self) -> dict[str, object]:
        """What is recorded of it."""
        return {"script": [[at, text] for at, text in self.script], "sample": self.sample}


def requests_of(settings: Settings) -> list[VideoRequest]:
    """The videos that settings of `cf.generate` ask for, in order.

    Samples of every prompt draw their noise from the numbers 0, 1, ..., as VBench's do, so that a
    video of a list is the one that its prompt alone gives.

    Raises:
        ValueError: a list cannot be read, a script is none, or two videos would have one name.
    """
    samples = int(settings["samples"])
    if not settings.get("prompts_file"):
        script = _script(settings)
        return [VideoRequest(f"video_{i}", script, i) for i in range(samples)]
    requests: list[VideoRequest] = []
    names: dict[str, str] = {}
    for prompt in prompts_of(settings["prompts_file"], "prompts_file"):
        if prompt.image:
            raise ValueError(
                f"{prompt.where}: images of a list are for cf.benchmark; give image=... and a "
                f"prompt"
            )
        for i in range(samples):
            name = prompt.name if samples == 1 else f"{prompt.name}-{i}"
            before = names.setdefault(folded(name), prompt.where)
            if before != prompt.where:
                raise ValueError(
                    f"{prompt.where}: its video would be {name}.mp4, as that of {before} is; give "
                    f"the two other ids (a column prompt_id)"
                )
            requests.append(VideoRequest(name, prompt.script, i, prompt.where))
    return requests


def batches(wanted: Sequence[VideoRequest], size: int) -> Iterator[list[VideoRequest]]:
    """Videos that are made at once: at most so many, whose texts begin at the same seconds."""
    alike: dict[tuple[float, ...], list[VideoRequest]] = {}
    for request in wanted:
        alike.setdefault(tuple(request.seconds), []).append(request)
    for group in alike.values():
        yield from (group[i : i + size] for i in range(0, len(group), size))


def _script(settings: Settings) -> Script:
    """Prompts and the seconds at which they begin."""
    if settings["prompts"] == TYPED or not settings["prompts"]:
        return ((0.0, settings["prompt"]),)
    if settings["prompt"]:
        raise ValueError("give prompt=... or prompts=..., not both")
    return script_of(settings["prompts"], "prompts", may_be_empty=True)
