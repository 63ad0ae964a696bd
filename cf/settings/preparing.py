"""What the settings of `cf.prepare` may be."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cf.settings.build import Settings
from cf.settings.hints import Within
from cf.settings.kinds import Count, Device, FilePath, FolderPath, Rate, Size


@dataclass(frozen=True)
class Prepare:
    """`cf.prepare`."""

    videos: FolderPath | None
    prompts_file: FilePath | None
    negative_prompt: str
    clip_frames: Count
    stride: Count | None
    fps: Rate
    pictures_fps: Rate | None
    size: Size
    cuts: Literal["keep", "split"]
    pictures: bool
    dtype: Literal["float32", "bfloat16", "float16"]
    shard_megabytes: Annotated[float, Within(above=0, most=2**17)]
    workers: Annotated[int, Within(1, 1024)] | None
    device: Device
    verify: bool

    @staticmethod
    def contradiction(given: Settings) -> str:
        """Nothing to prepare, in words; empty if there is something."""
        has_encoder = not str(given["text"].get("_target_", "")).endswith("NoText")
        if given["videos"] or (given["prompts_file"] and has_encoder):
            return ""
        if given["prompts_file"]:
            return "prompts_file is for a network that is told texts: give its encoder, text=umt5"
        return "nothing would be prepared: give videos=FOLDER, prompts_file=LIST, or both"
