"""`python -m cf.demo`: train a tiny model on clips, then stream a much longer continuation."""

import logging
import subprocess
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.entry import Settings, plain, told
from cf.paths import CONFIG_DIR

log = logging.getLogger("cf.demo")


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="demo")
def main(cfg: DictConfig) -> None:
    """Run the demo as `cfg` says."""
    with told("cf.demo"):
        demo(plain(cfg), Path(HydraConfig.get().runtime.output_dir))


def demo(settings: Settings, folder: Path) -> None:
    """Each part is a command that the reader can give as well, and is shown as such."""
    videos = Path(settings["videos"]) if settings["videos"] else _drawn(folder / "clips", settings)
    run = folder / "run"
    _command("cf.fit", f"data.folder='{videos}'", *settings["fit"], f"hydra.run.dir='{run}'")
    start = _trained_on(run)
    for memory in settings["memories"]:
        _command(
            "cf.generate",
            f"checkpoint='{run}'",
            f"memory={memory}",
            f"video='{start}'",
            f"seconds={settings['seconds']}",
            *settings["generate"],
            f"hydra.run.dir='{folder / memory}'",
        )
    clip = _clip_seconds(run)
    log.info("trained on clips of %.1f s; every video goes on for %s s", clip, settings["seconds"])
    for memory in settings["memories"]:
        log.info("%s: %s", memory, folder / memory / "video_0.mp4")
        log.info("%s, at a glance: %s", memory, folder / memory / "video_0.png")
    log.info("training: tensorboard --logdir %s", run)


def _drawn(folder: Path, settings: Settings) -> Path:
    from cf.data.shapes import draw_clips

    drawing = settings["drawing"]
    log.info("no videos given (videos=FOLDER): drawing %d clips into %s", drawing["count"], folder)
    draw_clips(folder, **drawing)
    return folder


def _trained_on(run: Path) -> Path:
    """The first video that the run was trained on; one that it never saw is beyond a tiny model."""
    from omegaconf import OmegaConf

    from cf.data.clips import split, survey

    data = OmegaConf.load(run / "config.yaml").data
    sources, _ = survey(Path(data.folder), data.clip_frames, data.fps)
    return split(sources, data.val_fraction)[0][0].path


def _clip_seconds(run: Path) -> float:
    from omegaconf import OmegaConf

    data = OmegaConf.load(run / "config.yaml").data
    return float(data.clip_frames / data.fps)


def _command(module: str, *arguments: str) -> None:
    log.info("python -m %s %s", module, " ".join(arguments))
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    if done.returncode:
        raise ValueError(f"{module} ended with status {done.returncode}; its message stands above")


if __name__ == "__main__":
    main()
