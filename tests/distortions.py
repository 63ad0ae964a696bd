"""Graded distortions of a good video: what metrics are held to see, and to overlook."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import conv2d, pad

Video = Float[Tensor, "t 3 h w"]


@dataclass(frozen=True)
class Scene:
    """A good video with what some distortions need besides.

    Attributes:
        video: in [0, 1].
        other: a video of another prompt, of equal size and length.
        thing: pixels of one thing in it, which may change its identity.
    """

    video: Video
    other: Video
    thing: Bool[Tensor, "t h w"]
    fps: float

    @property
    def second(self) -> int:
        """In frames."""
        return max(2, round(self.fps))

    @property
    def side(self) -> int:
        """The shorter, in pixels."""
        return min(self.video.shape[-2:])

    def ramp(self) -> Float[Tensor, "t 1 1 1"]:
        """0 at the first frame, 1 over the last quarter, even in between."""
        frames = len(self.video)
        rise = torch.arange(frames) / max(1, round(0.75 * frames))
        return rise.clamp(max=1).view(-1, 1, 1, 1)


Distortion = Callable[[Scene, float, torch.Generator], Video]


def distorted(name: str, scene: Scene, strength: float, seed: int = 0) -> Video:
    """The scene's video under a distortion of a strength in [0, 1]; 0 leaves it.

    Draws depend on the seed only, so that what a weak distortion spoils a strong one spoils more.
    """
    if name not in DISTORTIONS:
        raise ValueError(f"there is no distortion {name!r}, but {', '.join(DISTORTIONS)}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength={strength} must lie in [0, 1]")
    made = DISTORTIONS[name](scene, strength, torch.Generator().manual_seed(seed))
    return made.clamp(0, 1)


def jitter(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """The camera shakes: each frame is moved by up to 1/16 of the picture, another way each."""
    reach = scene.side / 16
    ways = 2 * torch.rand(len(scene.video), 2, generator=random) - 1
    moves = (ways.sign() * (0.5 + 0.5 * ways.abs()) * strength * reach).round().int().tolist()
    edge = math.ceil(reach)
    height, width = scene.video.shape[-2:]
    wide = pad(scene.video, (edge,) * 4, mode="replicate")
    return torch.stack(
        [
            frame[:, edge + down : edge + down + height, edge + right : edge + right + width]
            for frame, (down, right) in zip(wide, moves, strict=True)
        ]
    )


def stutter(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """A share of the odd frames repeat the one before."""
    at = torch.arange(len(scene.video))
    repeats = (torch.rand(len(at), generator=random) < strength) & (at % 2 == 1)
    return scene.video[at - repeats.long()]


def shuffle(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """In a share of the seconds, frames come in any order."""
    order = torch.arange(len(scene.video))
    for start in range(0, len(order), scene.second):
        part = order[start : start + scene.second].clone()
        mixed = part[torch.randperm(len(part), generator=random)]
        if torch.rand((), generator=random) < strength:
            order[start : start + scene.second] = mixed
    return scene.video[order]


def freeze(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """A share of the video, at its end, stands still."""
    last = max(0, math.ceil((1 - strength) * len(scene.video)) - 1)
    return scene.video[torch.arange(len(scene.video)).clamp(max=last)]


def flicker(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """The brightness changes from frame to frame, by up to 16 %."""
    gain = 2 * torch.rand(len(scene.video), 1, 1, 1, generator=random) - 1
    return scene.video * (1 + 0.16 * strength * gain)


def noise(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """Normal noise of a deviation of up to .1."""
    return scene.video + 0.1 * strength * torch.randn(scene.video.shape, generator=random)


def blur(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """Ever more blur, of a deviation of up to 1/8 of the picture."""
    radius = strength * scene.side / 8 * scene.ramp().flatten()
    pairs = zip(scene.video, radius.tolist(), strict=True)
    return torch.stack([blurred(frame, sigma) for frame, sigma in pairs])


def blurred(frame: Float[Tensor, "3 h w"], sigma: float) -> Float[Tensor, "3 h w"]:
    """By a Gaussian of so many pixels."""
    if sigma < 0.1:
        return frame
    reach = min(math.ceil(3 * sigma), min(frame.shape[-2:]) - 1)
    weights = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    kernel = (weights / weights.sum()).view(1, 1, -1, 1)
    channels = pad(frame[:, None], (reach,) * 4, mode="reflect")
    return conv2d(conv2d(channels, kernel), kernel.transpose(-1, -2))[:, 0]


def colour_drift(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """Hues turn ever further, by up to half a turn."""
    angle = math.pi * strength * scene.ramp().flatten()
    cosine, sine = angle.cos(), angle.sin()
    # A rotation about the grey axis (Rodrigues).
    third, cross = torch.full((3, 3), 1 / 3), torch.tensor([[0, -1.0, 1], [1, 0, -1], [-1, 1, 0]])
    turn = (
        cosine[:, None, None] * torch.eye(3)
        + (1 - cosine)[:, None, None] * third
        + sine[:, None, None] * cross / math.sqrt(3)
    )
    return torch.einsum("tij,tjhw->tihw", turn, scene.video)


def over_exposure(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """Ever brighter, up to three times, what exceeds white being lost."""
    return scene.video * (1 + 2 * strength * scene.ramp())


def grey_out(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """Ever closer to plain grey."""
    share = 0.95 * strength * scene.ramp()
    return (1 - share) * scene.video + share * 0.5


def cross_fade(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """Ever more of another scene."""
    share = strength * scene.ramp()
    return (1 - share) * scene.video + share * scene.other


def cut(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """Hard cuts to another scene and back, up to eight."""
    cuts = round(8 * strength)
    frames = torch.arange(len(scene.video))
    shot = frames * (cuts + 1) // len(frames)
    return torch.where((shot % 2 == 1).view(-1, 1, 1, 1), scene.other, scene.video)


def loop(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """The first three seconds come again and again, in a share of what follows them, at its end."""
    frames = torch.arange(len(scene.video))
    period = min(3 * scene.second, len(frames))
    first = len(frames) - round(strength * (len(frames) - period))
    return scene.video[torch.where(frames < first, frames, (frames - first) % period)]


def sink_reset(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """The video jumps back to its first half second, up to four times, and then goes on."""
    frames = torch.arange(len(scene.video))
    length = scene.second // 2
    at = frames.clone()
    for i in range(round(4 * strength)):
        start = round((0.3 + 0.6 * i / 4) * len(frames))
        at[start : start + length] = frames[:length][: len(at[start : start + length])]
    return scene.video[at]


def identity_swap(scene: Scene, strength: float, random: torch.Generator) -> Video:
    """From half the video on, one thing in it takes other colours."""
    changed = scene.video + strength * (scene.video.roll(1, 1) - scene.video)
    late = (torch.arange(len(scene.video)) >= len(scene.video) // 2).view(-1, 1, 1, 1)
    return torch.where(scene.thing[:, None] & late, changed, scene.video)


DISTORTIONS: dict[str, Distortion] = {
    one.__name__: one
    for one in (
        jitter,
        stutter,
        shuffle,
        freeze,
        flicker,
        noise,
        blur,
        colour_drift,
        over_exposure,
        grey_out,
        cross_fade,
        cut,
        loop,
        sink_reset,
        identity_swap,
    )
}
"""By name, in the order of the matrix."""
