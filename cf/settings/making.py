"""The settings of commands that make video of a network: `cf.generate` and `cf.play`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cf.data.script import text_from
from cf.files.shipped import SHIPPED, shipped
from cf.settings.acts import ACTS, IMAGES, fault_of_acts, fault_of_images
from cf.settings.build import Settings
from cf.settings.hints import Form, Within
from cf.settings.kinds import (
    Compile,
    Count,
    Device,
    Dtype,
    FileOrFolder,
    FilePath,
    Rate,
    Seconds,
    Seed,
    Size,
)
from cf.settings.presets import lacking, unsaid
from cf.settings.sampling import Sampling

_OF_A_SCRIPT = (
    *("prompt", "prompts", "prompts_file", "video", "image", "pinned", "seed", "fps", "size"),
    *("memory", "model", "codec", "text", "rollout", "source", "given_seconds", "number", "path"),
)
_LEAST_TOKEN = 16
_NO_WEIGHTS = (
    "checkpoint must be given: model=... says what a network is built of, and checkpoint=... which "
    "file holds its weights"
)


def with_network(settings: Settings) -> Settings:
    """The settings with a checkpoint: where no network is told, the student of the package.

    The prompt is spelt as it would be in a list, so that either makes one video.

    Args:
        settings: of `cf.generate` or `cf.play`.

    Raises:
        ValueError: the prompt is no text.
    """
    prompt = text_from(settings["prompt"], "prompt", may_be_empty=True)
    settings = {**settings, "prompt": prompt}
    if settings["checkpoint"] or settings.get("model"):  # a plan needs no file
        return settings
    return {**settings, "checkpoint": shipped(SHIPPED + "student")}


def with_live_network(settings: Settings) -> Settings:
    """As `with_network`; the student of the package then goes a frame at a time, unless told.

    Keys are read when a block begins. It was trained on blocks of three frames, and loses 0.3 dB of
    PSNR where views come again (benchmarks/LOG.md, 2026-11-29).

    Args:
        settings: of `cf.play`.
    """
    completed, sampling = with_network(settings), settings["sampling"]
    if completed["checkpoint"] == settings["checkpoint"] or sampling["block_frames"] is not None:
        return completed
    return {**completed, "sampling": {**sampling, "block_frames": 1}}


@dataclass(frozen=True)
class WeightSettings:
    """Which network of a file, and updates to merge; `cf.models.weight_files` says what lora is."""

    container: str | None
    lora: Any
    lora_alpha: float | None


@dataclass(frozen=True)
class _Making:
    """What both commands take: of which network, on what, and how a video begins."""

    source: str
    note: str
    prompt: str
    image: FilePath | None
    world_seed: Seed
    number: Annotated[int, Within(0, 2**31)]
    seed: Seed
    sampling: Sampling
    fps: Rate | None
    size: Size | None
    weights: WeightSettings
    device: Device
    dtype: Dtype
    compile: Compile
    offload: Literal["none", "text", "codec", "all"]
    tile: Count | None
    card_gb: Annotated[float, Within(above=0)] | None

    lacking = staticmethod(lacking)


@dataclass(frozen=True)
class Generate(_Making):
    """`cf.generate`."""

    checkpoint: FileOrFolder | None
    seconds: Seconds
    prompts: Annotated[list[Any] | Literal["-"], ACTS]
    prompts_file: FilePath | None
    script: FilePath | None
    video: FileOrFolder | None
    pictures_fps: Rate | None
    given_seconds: Annotated[float, Within(0, 3600)] | None
    path: dict[str, Any] | None
    pinned: Annotated[list[Any], IMAGES]
    samples: Annotated[int, Within(1, 10_000)]
    batch: Count | None
    save_every: Seconds | None
    overlap: bool
    plan: bool

    @staticmethod
    def unread(given: Settings) -> set[str]:
        """Settings that are not looked at: a plan may be made before the download."""
        return {"checkpoint"} if given.get("plan") and given.get("model") else set()

    @staticmethod
    def contradiction(given: Settings) -> str:
        """Two settings that exclude each other, in words; empty if there are none."""
        if given["checkpoint"] is None and given.get("model") and not given["plan"]:
            return _NO_WEIGHTS
        if given["script"] and (setting := _beside_a_script(given)):
            return f"script={given['script']} says all of its video: leave {setting}=... out"
        if given["image"] and given["video"]:
            return f"give video={given['video']} or image={given['image']}, not both"
        typed, texts = given["prompts"] == "-", ("prompt", "prompts", "prompts_file")
        if typed and given["prompts_file"]:
            return "give prompts=- or prompts_file=..., not both"
        several = [] if typed else [f"{name}=..." for name in texts if given[name]]
        if len(several) > 1:
            return f"give {' or '.join(several)}, not {'both' if len(several) == 2 else 'all'}"
        message = fault_of_images(given["pinned"])
        return message or ("" if typed else fault_of_acts(given["prompts"])) or unsaid(given)


@dataclass(frozen=True)
class Play(_Making):
    """`cf.play`."""

    checkpoint: FileOrFolder | None
    against: str | None
    memories: dict[str, Any]
    given_seconds: Annotated[float, Within(0, 3600)]
    seconds: Annotated[float, Within(above=0, most=36_000)]
    sessions: Annotated[int, Within(1, 64)]
    host: str
    port: Annotated[int, Within(0, 65535)]
    token: Annotated[str, Form("16 characters or more that nobody guesses")] | None
    threads: Count | None

    @staticmethod
    def contradiction(given: Settings) -> str:
        """What is missing, or does not go together, in words; empty if nothing is."""
        if given["checkpoint"] is None and given.get("model"):
            return _NO_WEIGHTS
        if given["token"] is not None and len(given["token"]) < _LEAST_TOKEN:
            return f"token must have {_LEAST_TOKEN} characters or more; null makes one"
        return ""


def _beside_a_script(settings: Settings) -> str:
    """The first setting that says again what a recorded session says; empty if none does."""
    return next((name for name in _OF_A_SCRIPT if settings.get(name)), "")
