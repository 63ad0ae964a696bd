"""generate.json: what a folder's videos were made with, so that they can be made again."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cf.evaluation.provenance import versions
from cf.files.atomic import write_text
from cf.generation.requests import TYPED, VideoRequest
from cf.models.attention_kernel import attention_kernel
from cf.models.start import fingerprint
from cf.runs.generator import Generator, file_of
from cf.runs.guidance import guide_of
from cf.settings.build import Settings
from cf.system.shell import shell_command

log = logging.getLogger("cf.generate")
RECORD = "generate.json"
_FREE = ("samples", "batch", "save_every", "prompt", "prompts", "prompts_file", "device", "overlap")
"""Settings that change which videos there are, or how they come about, and no frame of one."""
_OF_OLD = {"compile": "none"}
"""What records of old do not say."""
_MOST_TOLD = 3


class Record:
    """The record of a folder of videos.

    Attributes:
        videos: what is known of each whole video, by name.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Read what is there, and compare it with what is asked for now.

        Raises:
            ValueError: the folder holds videos that were made with other settings.
        """
        self._path = folder / RECORD
        lora = settings["weights"].get("lora")
        alpha = settings["weights"].get("lora_alpha")
        self._now: dict[str, Any] = {
            "settings": json.loads(json.dumps(settings, default=str)),
            "weights_sha256": fingerprint(file_of(settings["checkpoint"]), lora, alpha),
        }
        if (guide := guide_of(settings)) is not None:
            self._now["guide_sha256"] = fingerprint(file_of(guide))
        before = _read(self._path)
        self.videos: dict[str, dict[str, Any]] = before.get("videos") or {}
        if before:
            self._compare(before)

    def _compare(self, before: dict[str, Any]) -> None:
        faults = [
            f"{name}={then} and now {now}"
            for name, then, now in _differences(
                _OF_OLD | (before.get("settings") or {}), self._now["settings"]
            )
            if name.partition(".")[0] not in _FREE
        ]
        for name, setting in (("weights", "checkpoint"), ("guide", "sampling.guide")):
            if before.get(f"{name}_sha256") != self._now.get(f"{name}_sha256"):
                faults.append(f"other weights, though {setting}= is the same")
        if faults:
            more = f", and {len(faults) - _MOST_TOLD} more" if len(faults) > _MOST_TOLD else ""
            raise ValueError(
                f"{self._path.parent} holds videos that were made with "
                f"{'; '.join(faults[:_MOST_TOLD])}{more}; give the same to go on there, or another "
                f"folder: hydra.run.dir=..."
            )

    def missing(self, wanted: Sequence[VideoRequest], typed: bool) -> list[VideoRequest]:
        """The videos that are not whole yet; the log says how many are kept.

        Raises:
            ValueError: one of that name is there, of other texts.
        """
        missing = []
        for request in wanted:
            entry = self.videos.get(request.name)
            if entry is None or not (self._path.parent / f"{request.name}.mp4").is_file():
                missing.append(request)
            elif not typed and entry["script"] != request.described()["script"]:
                raise ValueError(
                    f"{request.where}: {request.name}.mp4 was made of {_text(entry['script'])}, "
                    f"and is now to be of {_text(request.described()['script'])}; give it another "
                    f"prompt_id, or another folder: hydra.run.dir=..."
                )
        if len(missing) < len(wanted):
            log.info("%d of %d videos are there and kept", len(wanted) - len(missing), len(wanted))
        return missing

    def write(self, generator: Generator, made: dict[str, dict[str, Any]]) -> None:
        """Note whole videos, and the command that makes them again."""
        self.videos |= made
        self._now |= {
            "command": shell_command("cf.generate", list(self._repeated())),
            "working_folder": str(Path.cwd()),
            "rollout": repr(generator.rollout),
            "fps": generator.fps,
            "size": list(generator.size),
            "device": str(generator.network.device),
            "attention": attention_kernel(generator.network),
            "versions": versions(),
            "videos": self.videos,
        }
        write_text(self._path, json.dumps(self._now, indent=2, default=str) + "\n")

    def _repeated(self) -> Iterator[str]:
        """What was typed, with the texts that were typed meanwhile and without the folder."""
        typed = self._now["settings"]["prompts"] == TYPED
        for argument in sys.argv[1:]:
            name = argument.lstrip("+").partition("=")[0]
            if name != "hydra.run.dir" and not (typed and name in ("prompt", "prompts")):
                yield argument
        if typed and self.videos:
            yield f"prompts={json.dumps(next(iter(self.videos.values()))['script'])}"


def _read(path: Path) -> dict[str, Any]:
    """The record that is there; nothing if there is none."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("videos", {}), dict):
        raise ValueError(f"{path} is no record of cf.generate; give another folder")
    return value if "videos" in value else {}


def _differences(then: Any, now: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(then, dict) and isinstance(now, dict):
        for name in sorted({*then, *now}):
            yield from _differences(then.get(name), now.get(name), f"{at}.{name}".lstrip("."))
    elif then != now:
        yield at, then, now


def _text(script: Any) -> str:
    return repr(script[0][1] if len(script) == 1 else script)[:80]
