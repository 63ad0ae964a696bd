"""A training on pictures of any size: the network makes pictures of the size that its data have."""

from pathlib import Path

import pytest
from commands import Command, run
from test_fit import TINY, clips

from cf.video.probe import probe

__all__ = ["clips"]

pytestmark = pytest.mark.whole

OWN = [one for one in TINY if not one.startswith(("data.size", "model.latent_shape"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "more"),
    [((24, 40), ()), ((32, 48), ("codec=doom", "model=videos"))],
    ids=["pixels", "latents"],
)
def test_the_size_of_the_data_is_said_once(
    size: tuple[int, int], more: tuple[str, ...], clips: Path, tmp_path: Path
) -> None:
    """Samples are made while it trains, and the network makes such pictures ever after."""
    folder, height, width = tmp_path / "run", *size
    quick = ["trainer.max_steps=2", "callbacks.samples.every_steps=1", *more]
    given = [f"data.size=[{height},{width}]", f"data.folder={clips}", f"hydra.run.dir={folder}"]
    done = run("cf.fit", *OWN, *quick, *given)
    assert done.status == 0, done.told
    assert (folder / "samples/step_00000001.png").exists()
    done = run("cf.generate", f"checkpoint={folder}", "seconds=1", f"hydra.run.dir={tmp_path}")
    assert done.status == 0, done.told
    made = probe(tmp_path / "video_0.mp4")  # enlarged, so that it can be watched
    assert made.height * width == made.width * height


def test_a_size_that_does_not_divide_is_told_with_those_that_do(
    refused: Command, clips: Path
) -> None:
    told = refused("cf.fit", *OWN, "data.size=[50,90]", f"data.folder={clips}")
    assert "data.size=[50,90]" in told.replace(", ", ",")
    assert "data.size=[48,88] and data.size=[56,96]" in told


def test_a_codec_of_other_channels_is_told(refused: Command, clips: Path) -> None:
    told = refused("cf.fit", *OWN, "codec=doom", "data.size=[32,48]", f"data.folder={clips}")
    assert "latents of 3 channels and the codec reads 16" in told
