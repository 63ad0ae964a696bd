"""`python -m cf.memory_map`: draw what every memory shows of the past, and where in RoPE time."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cf.settings.build import Settings, build, to_settings
from cf.settings.command_line import command

if TYPE_CHECKING:
    from cf.memory.base import Memory
    from cf.memory.trace import Shown, Story

log = logging.getLogger("cf.memory_map")
PAGE = """# The memories in pictures

Generated: `python -m cf.memory_map docs=docs`. {count} memories, each told the same fabricated
video of {frames} latent frames in blocks of {block} that cuts every {scene} frames between three
scenes and comes back to each (letters along the top).

**Left**: which source frames are in the context (upwards) while a frame is being made (to the
right); the paler, the fewer tokens are spent on a frame. **Right**: where they stand in RoPE time;
a colour is a source frame, as on the left, and blends where frames were merged. Grey is the block
itself, the black line where it begins. Where the commit pass, or a denoising step, reads something
else, it has a row of its own.

![All memories](memories/all.png)

"""


@command("memory_map")
def main(cfg: DictConfig) -> None:
    """Draw as `cfg` says."""
    settings = to_settings(cfg)
    chosen = _memories(settings)
    draw_memories(settings, chosen, Path(HydraConfig.get().runtime.output_dir))


def _memories(settings: Settings) -> dict[str, Settings]:
    """The one that is composed, or those named, or all that the configuration folders hold."""
    loader = GlobalHydra.instance().config_loader()
    known = loader.get_group_options("memory")
    if settings.get("memory") is not None:
        return {HydraConfig.get().runtime.choices["memory"]: settings["memory"]}
    names = known if settings["memories"] is None else settings["memories"]
    found: dict[str, Settings] = {}
    for name in names:
        if name not in known:
            raise ValueError(f"there is no memory {name!r}; there are {', '.join(known)}")
        composed = hydra.compose("memory_map", [f"memory={name}"])
        found[name] = to_settings(composed)["memory"]
    return found


def draw_memories(settings: Settings, memories: dict[str, Settings], folder: Path) -> list[Path]:
    """One picture for each memory and one of all, as PNG and for TensorBoard; a page if asked."""
    import numpy as np
    from PIL import Image
    from torch.utils.tensorboard import SummaryWriter

    from cf.memory.picture import overview_of_memories, picture
    from cf.memory.trace import Story, trace

    story = Story(**{**settings["story"], "grid": tuple(settings["story"]["grid"])})
    target = folder if settings["docs"] is None else Path(settings["docs"]) / "memories"
    target.mkdir(parents=True, exist_ok=True)
    traces: dict[str, list[list[Shown]]] = {}
    policies: dict[str, Memory] = {}
    for name, one in memories.items():
        policies[name] = build(one, f"memory {name}")
        traces[name] = trace(policies[name], story, settings["num_steps"])
    drawn = {name: picture(name, shown, story) for name, shown in traces.items()}
    if len(drawn) > 1:
        drawn["all"] = overview_of_memories(traces, story)
    paths = []
    with SummaryWriter(str(folder)) as board:
        for name, pixels in drawn.items():
            board.add_image(f"memory/{name}", pixels, dataformats="HWC")
            paths.append(target / f"{name}.png")
            small = Image.fromarray(np.asarray(pixels)).quantize(128)
            small.save(paths[-1], optimize=True)
            log.info("%s", paths[-1])
    if settings["docs"] is not None:
        page = Path(settings["docs"]) / "memories.md"
        page.write_text(_page(policies, memories, story))
        log.info("%s", page)
    return paths


def _page(policies: dict[str, Memory], memories: dict[str, Settings], story: Story) -> str:
    """The page of the documentation: for each memory what it says of itself, and its picture."""
    sections = [
        PAGE.format(
            count=len(memories),
            frames=story.frames,
            block=story.block_frames,
            scene=story.scene_frames,
        )
    ]
    for name, settings in memories.items():
        summary = (inspect.getdoc(type(policies[name])) or "").splitlines()[0]
        size = policies[name].max_frames
        room = "no bound" if size is None else f"{size} latent frames attended at most"
        sections.append(
            f"## {name}\n\n{summary} {room[0].upper()}{room[1:]}.\n\n"
            f"![{name}](memories/{name}.png)\n\n```yaml\n{_yaml(settings)}```\n"
        )
    return "\n".join(sections)


def _yaml(settings: Any) -> str:
    text: str = OmegaConf.to_yaml(OmegaConf.create(settings))
    return text


if __name__ == "__main__":
    main()
