"""What is to be prepared, decided before anything is encoded: clips and texts, by number."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cf.settings.build import Settings

if TYPE_CHECKING:
    from cf.data.sources import Source

log = logging.getLogger("cf.prepare")

TEXTS_IN_A_FILE = 256


class PlannedClip(NamedTuple):
    """A clip that is to be encoded.

    Attributes:
        source: the video's name in its folder.
        first: its first picture, counted at the clips' frame rate.
        text: number of its prompt; None where no text is encoded.
    """

    source: str
    path: Path
    first: int
    prompt: str
    text: int | None


class PlannedFile(NamedTuple):
    """A file that is to be made, by one process.

    Attributes:
        kind: latents or texts.
        work: the clips or the texts in it.
    """

    kind: str
    number: int
    work: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Of the file in the folder, without its suffix."""
        return f"{self.kind}-{self.number:06d}"


@dataclass(frozen=True)
class PreparationPlan:
    """All files of a folder, and what tells this plan from others.

    Attributes:
        prompts: how many of the texts are there to be trained on; they come first.
        left_out: videos that cannot be used, with the reason.
        identity: equal where the same files would be made.
    """

    files: tuple[PlannedFile, ...]
    prompts: int
    left_out: dict[str, str]
    identity: dict[str, Any]

    def count(self, kind: str) -> int:
        """How many clips or texts there are."""
        return sum(len(file.work) for file in self.files if file.kind == kind)


def plan_preparation(settings: Settings) -> PreparationPlan:
    """The plan of a preparation.

    Args:
        settings: of `cf.prepare`.

    Raises:
        ValueError: no video or prompt can be used, or the codec does not take the size.
    """
    from cf.data.captions import uncaptioned
    from cf.data.prompts import read_texts
    from cf.data.sources import survey
    from cf.video.listing import stamp

    sources: list[Source] = []
    left_out: dict[str, str] = {}
    reads_text = not str(settings["text"]["_target_"]).endswith("NoText")
    if settings["videos"] is not None:
        folder, frames = Path(settings["videos"]), settings["clip_frames"]
        sources, left_out = survey(
            folder,
            frames,
            settings["fps"],
            cuts=settings["cuts"],
            pictures_fps=settings["pictures_fps"],
            setting="pictures_fps",
        )
    if reads_text and (lacking := uncaptioned({source.name: source.prompt for source in sources})):
        log.warning("%s", lacking)
    texts = [source.prompt for source in sources]
    if settings["prompts_file"] is not None:
        texts += read_texts(settings["prompts_file"], "prompts_file")
    numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    prompts = len(numbers)
    for text in ("", settings["negative_prompt"]):
        numbers.setdefault(text, len(numbers))
    clips = _clips(sources, settings, numbers if reads_text else None)
    files = [
        *(_files("texts", list(numbers), TEXTS_IN_A_FILE) if reads_text else ()),
        *_files("latents", list(clips), clips_in_a_file(settings) if sources else 1),
    ]
    named = [
        (
            source.name,
            stamp(source.path)[0],
            source.pictures,
            source.prompt,
            *source.shots,
            *source.kinds,
        )
        for source in sources
    ]
    made_by = ("codec", "text", "clip_frames", "stride", "fps", "size", "cuts", "dtype")
    identity = {name: settings[name] for name in (*made_by, "shard_megabytes")}
    identity |= {"videos": _hash(named), "texts": _hash(list(numbers))}
    if settings["pictures"]:  # left out otherwise: folders of old go on
        identity["pictures"] = True
    return PreparationPlan(tuple(files), prompts if reads_text else 0, left_out, identity)


def clips_in_a_file(settings: Settings) -> int:
    """How many clips of latents one file holds.

    Raises:
        ValueError: the codec does not take clips of that size or number of frames.
    """
    import torch

    from cf.models.pretrained import parse_dtype
    from cf.runs.outline import codec_outline

    codec = codec_outline(settings["codec"], {})
    frames = codec.latent_frames(settings["clip_frames"])
    channels, height, width = codec.latent_shape(*settings["size"])
    number = torch.empty((), dtype=parse_dtype(settings["dtype"])).element_size()
    size = frames * channels * height * width * number
    if settings["pictures"]:
        size += 3 * int(settings["size"][0]) * int(settings["size"][1])
    return max(int(settings["shard_megabytes"] * 1e6) // size, 1)


def _clips(
    sources: Sequence[Source], settings: Settings, numbers: dict[str, int] | None
) -> Iterator[PlannedClip]:
    """Clips one after the other, within shots where cuts are respected."""
    frames = settings["clip_frames"]
    stride = settings["stride"] or frames
    for source in sources:
        text = None if numbers is None else numbers[source.prompt]
        for first, pictures in source.shots or ((0, source.pictures),):
            for at in range(first, first + pictures - frames + 1, stride):
                yield PlannedClip(source.name, source.path, at, source.prompt, text)


def _files(kind: str, work: list[Any], size: int) -> Iterator[PlannedFile]:
    remaining, number = iter(work), 0
    while part := tuple(islice(remaining, size)):
        yield PlannedFile(kind, number, part)
        number += 1


def _hash(what: object) -> str:
    return hashlib.sha256(repr(what).encode(errors="surrogateescape")).hexdigest()
