"""handcrafted-v2: what it tells apart, and what it must not mind."""

import hashlib
import json
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize
from torchvision.transforms.functional import gaussian_blur

import cf.metrics.extractors
from cf.data.world.walk import Walk
from cf.metrics.extractors.handcrafted import MIRRORED, WIDTH, Handcrafted

SEEN = Handcrafted()
KNOWN = json.loads(
    Path(cf.metrics.extractors.__file__).with_name("handcrafted_v2.json").read_text("utf-8")
)


def scene(number: int, frames: int = 1, size: int = 96) -> Tensor:
    """One place, whose camera strolls."""
    return Walk(size=(size, size), num_places=1).draw(11, [number], frames).video[0]


def features(frames: Tensor) -> Tensor:
    return normalize(SEEN(frames).double(), dim=1)


def likeness(one: Tensor, other: Tensor) -> float:
    pair = features(torch.stack((one, other)).clamp(0, 1))
    return float(pair[0] @ pair[1])


def lagged(frames: Tensor) -> float:
    """Mean likeness at lags that double: consistency without chance."""
    seen = features(frames)
    lags = [lag for lag in (1, 2, 4, 8, 16) if lag <= len(frames) // 2]
    means = [(seen[lag:] * seen[:-lag]).sum(1).mean() for lag in lags]
    return float(torch.stack(means).mean())


def test_it_gives_104_numbers_whatever_the_size() -> None:
    for size in ((20, 30), (128, 128), (300, 200)):
        assert SEEN(torch.rand(2, 3, *size)).shape == (2, WIDTH)
    assert WIDTH == SEEN.width == 104
    assert SEEN(torch.zeros(0, 3, 20, 30)).shape == (0, 104)
    assert torch.isfinite(features(torch.zeros(1, 3, 9, 9))).all()


def test_each_frame_is_seen_on_its_own() -> None:
    frames = scene(0, 6)
    assert torch.equal(SEEN(frames), torch.cat([SEEN(frame[None]) for frame in frames]))
    assert torch.equal(SEEN(frames)[[4, 1]], SEEN(frames[[4, 1]]))
    levels = (frames * 255).round()
    assert torch.equal(SEEN(levels / 255), SEEN((levels.byte() / 255).double()))


DISTORTIONS = {
    "exposure": lambda x, s: x * (1 + s),
    "darkness": lambda x, s: x * (1 - 0.7 * s),
    "blur": lambda x, s: gaussian_blur(x, [25, 25], [4 * s, 4 * s]),
    "colour": lambda x, s: x + 0.2 * s * torch.tensor([1.0, 0.2, -0.7])[:, None, None],
    "grey": lambda x, s: (1 - s) * x + s * x.mean(0, keepdim=True),
    "fade": lambda x, s: (1 - s) * x + s * 0.5,
    "other scene": lambda x, s: (1 - s) * x + s * scene(501)[0],
}


@pytest.mark.parametrize("kind", DISTORTIONS)
@pytest.mark.parametrize("number", [500, 502])
def test_it_reacts_to_each_distortion_more_the_stronger_it_is(kind: str, number: int) -> None:
    frame = scene(number)[0]
    curve = [likeness(frame, DISTORTIONS[kind](frame, s)) for s in (0.25, 0.5, 0.75, 1.0)]
    assert all(a > b for a, b in zip([1.0, *curve], curve, strict=False)), curve
    assert curve[-1] < 0.85, curve


@pytest.mark.parametrize("number", [500, 501, 502])
def test_it_hardly_minds_where_things_are(number: int) -> None:
    """A picture cut from a wider one, up to a third of its width further on."""
    wide = Walk(size=(96, 192), num_places=1).draw(11, [number], 1).video[0, 0]
    still, blurred = wide[:, :, :96], gaussian_blur(wide[:, :, :96], [25, 25], [4.0, 4.0])
    for shift in (4, 16, 32):
        assert likeness(still, torch.roll(still, shift, -1)) > 0.9
        assert likeness(still, wide[:, :, shift : 96 + shift]) > likeness(still, blurred)


def test_a_mirrored_video_has_the_same_likenesses() -> None:
    frames = scene(503, 32)
    assert abs(lagged(frames) - lagged(frames.flip(-1))) < 1e-3


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_another_resolution_has_the_same_likenesses(mode: str) -> None:
    frames = scene(503, 32)
    larger = interpolate(frames, scale_factor=2, mode=mode).clamp(0, 1)
    assert abs(lagged(frames) - lagged(larger)) < 0.01
    assert likeness(frames[0], interpolate(larger[:1], (96, 96), mode="area")[0]) > 0.99


def test_what_is_subtracted_is_whole_and_has_no_left_or_right() -> None:
    mean = KNOWN["mean"]
    assert hashlib.sha256(json.dumps(mean).encode()).hexdigest() == KNOWN["sha256"]
    assert KNOWN["kappa"] == SEEN.kappa
    assert -0.1 < KNOWN["kappa"] < 0.5
    edges = torch.tensor(mean[64:]).view(5, 8)
    mirrored = edges[:, [0, 7, 6, 5, 4, 3, 2, 1]]
    torch.testing.assert_close(edges, mirrored, rtol=0, atol=2e-7)
    frames = scene(504, 3)
    torch.testing.assert_close(SEEN(frames.flip(-1)), SEEN(frames)[:, MIRRORED], atol=2e-3, rtol=0)


def test_unrelated_videos_are_about_as_alike_as_it_says() -> None:
    seen = [features(scene(number, 4)).mean(0) for number in range(600, 612)]
    pairs = [float(a @ b) for i, a in enumerate(seen) for b in seen[:i]]
    assert abs(sum(pairs) / len(pairs) - KNOWN["kappa_of"]["walk"]) < 0.15


def test_it_says_what_it_is() -> None:
    told = SEEN.provenance()
    assert told["extractor"] == "handcrafted-v2"
    assert told["weights"] is None
    assert not SEEN.semantic
    assert "opencv" in told["versions"]


def test_it_is_quick() -> None:
    """Sixteen milliseconds a frame are aimed at; a busy machine is given more."""
    frames = torch.rand(8, 3, 240, 416)
    SEEN(frames[:1])
    start = time.process_time()
    SEEN(frames)
    assert (time.process_time() - start) / len(frames) < 0.05
