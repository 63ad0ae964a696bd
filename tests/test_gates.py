"""Gates of the benchmark: what moves like real footage passes, its degraded copies fail."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from distortions import Scene, distorted
from hydra.utils import instantiate
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.functional import gaussian_blur

from cf.evaluation.gates import Failing, Gate
from cf.metrics.base import together
from cf.paths import CONFIG_DIR
from cf.video.reader import read_video

BOUNDS = yaml.safe_load((Path(CONFIG_DIR) / "gate_set/clips.yaml").read_text())
METRICS = {
    key: yaml.safe_load((Path(CONFIG_DIR) / "metric" / f"{key}.yaml").read_text()) for key in BOUNDS
}
CLIPS = Path(__file__).parents[2] / "shared" / "videos"
FRAMES, SIDE, RATE = 32, 64, 8.0


def view(seed: int = 0) -> Tensor:
    """A wide picture with detail of several sizes, twice as large as it is shown."""
    random = torch.Generator().manual_seed(seed)
    layers = [
        interpolate(torch.rand(1, 3, n, 3 * n, generator=random), (256, 768), mode="bicubic")
        for n in (4, 12, 32)
    ]
    return (sum(layers, torch.zeros(1)) / 3).clamp(0, 1)


def filmed(moves: list[tuple[float, float]], seed: int = 0) -> Tensor:
    """The view from places (down, right) in pixels of what is shown, sharper than these."""
    wide, frames = view(seed), []
    for down, right in moves:
        top, left = round(2 * down), round(2 * right)
        piece = wide[..., top : top + 2 * SIDE, left : left + 2 * SIDE]
        frames.append(interpolate(piece, (SIDE, SIDE), mode="area"))
    return torch.cat(frames)


def shake(t: int) -> tuple[float, float]:
    return 20 + 2 * math.sin(0.7 * t) + 1.5 * math.sin(1.1 * t), 20 + t + 2 * math.sin(0.6 * t)


PAN = filmed([(20, 10 + 2.0 * t) for t in range(FRAMES)])
REAL = {
    "pan": PAN,
    "handheld": filmed([shake(t) for t in range(FRAMES)]),
    "hard cut": torch.cat((PAN[:16], filmed([(10, 40 + t) for t in range(16)], seed=1))),
    "short": PAN[:10],
}


def verdicts(video: Tensor) -> dict[str, bool | None]:
    metrics = {key: instantiate(METRICS[key]) for key in BOUNDS}
    watched = together([*metrics.values()])
    watched.update(video, 0, fps=RATE)
    values = {key: watched[one.name].result().per_video[0] for key, one in metrics.items()}
    return {key: Gate(key, *BOUNDS[key]).holds(value) for key, value in values.items()}


def degraded(name: str, video: Tensor, strength: float = 0.7) -> Tensor:
    nothing = torch.zeros(len(video), SIDE, SIDE, dtype=torch.bool)
    return distorted(name, Scene(video, video.flip(-1), nothing, RATE), strength)


@pytest.mark.parametrize("name", REAL)
def test_what_moves_like_real_footage_passes(name: str) -> None:
    found = verdicts(REAL[name])
    assert False not in found.values(), found
    assert (found["loop_rate"] is None) == (name == "short"), "two seconds tell a loop"


@pytest.mark.parametrize(("name", "strength"), [("freeze", 0.7), ("shuffle", 1.0), ("noise", 0.7)])
def test_degraded_copies_fail(name: str, strength: float) -> None:
    assert False in verdicts(degraded(name, PAN, strength)).values()


@pytest.mark.parametrize(
    ("gate", "spoilt"),
    [
        ("disorder", lambda slow: degraded("shuffle", slow, 1.0)),
        ("disorder", lambda slow: slow[[0, -1]].repeat(FRAMES // 2, 1, 1, 1)),
        ("disorder", lambda slow: degraded("flicker", slow[:1].repeat(FRAMES, 1, 1, 1), 1.0)),
        ("blur_effect", lambda slow: gaussian_blur(slow, 13)),
    ],
    ids=["shuffled", "taking turns", "flickering", "blurred from the beginning"],
)
def test_a_scene_that_hardly_moves_is_told_from_its_copies(
    gate: str, spoilt: Callable[[Tensor], Tensor]
) -> None:
    slow = filmed([(20, 20 + 0.5 * t) for t in range(FRAMES)])
    assert False not in verdicts(slow).values()
    assert verdicts(spoilt(slow))[gate] is False


@pytest.mark.parametrize("level", [0.0, 1.0], ids=["black", "white"])
@pytest.mark.parametrize("place", [0, 13, FRAMES - 1])
def test_no_gate_is_dodged_by_a_picture_that_is_flat(place: int, level: float) -> None:
    for spoilt in (PAN, gaussian_blur(PAN, 13), degraded("noise", PAN), degraded("loop", PAN)):
        before = verdicts(spoilt)
        flashed = spoilt.clone()
        flashed[place] = level
        after = verdicts(flashed)
        dodged = [gate for gate in before if before[gate] is not None and after[gate] is None]
        assert not dodged


def test_a_prompt_of_which_no_gate_is_measured_is_not_said_to_pass() -> None:
    gates = [Gate("still", None, 0.5), Gate("blur", None, 0.6)]
    still = {"a": math.nan, "b": 1.0, "c": 0.2}
    told = str(Failing.of(gates, {"still": still, "blur": dict.fromkeys(still, math.nan)}))
    assert told == "1 of 3, 1 not judged (still ≤ 0.5: 1)"


@pytest.mark.parametrize("name", ["freeze", "jitter", "noise"])
def test_a_still_fails_however_it_is_dressed_up(name: str) -> None:
    still = PAN[:1].repeat(FRAMES, 1, 1, 1)
    assert False in verdicts(degraded(name, still)).values()


@pytest.mark.skipif(not CLIPS.is_dir(), reason="no real clips at hand")
@pytest.mark.parametrize("name", ["nasa_13013", "bikes", "h265_10bits"])
def test_real_clips_pass_and_their_noisy_copies_fail(name: str) -> None:
    """One that hardly moves, one with cuts, one of a second."""
    video = read_video(CLIPS / f"{name}.mp4", RATE, (SIDE, SIDE), max_seconds=4)
    assert False not in verdicts(video).values()
    assert False in verdicts(degraded("noise", video)).values()
