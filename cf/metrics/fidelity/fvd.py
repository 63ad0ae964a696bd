"""Fréchet video distance between sets of clips, for each stretch of time."""

import hashlib
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.files.counts import so_many
from cf.metrics.base import VideoMetric
from cf.metrics.fidelity.frechet import Moments, frechet_distance
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.result import Result, mean
from cf.metrics.scored import Scored

_PRACTICAL = 256
_OF_A_SET = "a distance between sets has no value per video"


class VideoExtractor(ABC):
    """Turns clips into feature vectors, each clip on its own.

    Attributes:
        name: by which it is chosen and printed.
        frames: of a clip.
    """

    name: str
    frames: int = 16

    @property
    @abstractmethod
    def width(self) -> int:
        """Length of a feature vector."""

    @abstractmethod
    def __call__(self, clips: Float[Tensor, "n t 3 h w"]) -> Float[Tensor, "n d"]:
        """Features of clips in [0, 1]; a clip's never depend on the others."""

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """Name, weights and their hash, preprocessing."""


class I3D(VideoExtractor):
    """I3D trained on Kinetics, 400 logits, from a TorchScript file of StyleGAN-V's kind.

    Frames are resized to 224 x 224 (bilinear, no antialiasing) and scaled to [-1, 1] here.

    Attributes:
        path: of `i3d_torchscript.pt`; nothing is downloaded.
    """

    name = "i3d-torchscript"
    width = 400

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        self.path, self.device = Path(path), device
        if not self.path.is_file():
            raise FileNotFoundError(
                f"no I3D at {self.path}; give the i3d_torchscript.pt of StyleGAN-V, which FVD "
                f"is computed with, as a local file"
            )

    @cached_property
    def network(self) -> Any:
        """As it was scripted, which torch deprecates but which is how the file is published."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.load(str(self.path), map_location=self.device).eval()

    def __getstate__(self) -> dict[str, Any]:
        """Without the network, which is read again."""
        return {name: value for name, value in vars(self).items() if name != "network"}

    def __call__(self, clips: Float[Tensor, "n t 3 h w"]) -> Float[Tensor, "n d"]:
        """See `VideoExtractor`; one clip at a time, so that rounding never depends on others."""
        features = []
        for clip in clips:
            resized = torch.nn.functional.interpolate(
                clip.to(self.device), (224, 224), mode="bilinear", align_corners=False
            )
            batch = (2 * resized - 1).transpose(0, 1)[None]
            with torch.no_grad():
                output = self.network(batch, rescale=False, resize=False, return_features=True)
            features.append(output.cpu())
        return torch.cat(features)

    @override
    def provenance(self) -> dict[str, Any]:
        sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        return {"extractor": self.name, "sha256": sha256, "size": 224, "resize": "bilinear"}


@dataclass(frozen=True)
class ClipFeatures(Measurement):
    """Features of every clip and, unless those are known already, of its reference.

    Clips begin at multiples of their length, counted in the video.

    Attributes:
        extractor: what makes them.
        paired: whether the reference's frames come along.
        rate: frames per second of the clips; None for the video's own.
    """

    extractor: VideoExtractor
    paired: bool = True
    rate: float | None = None
    kept = torch.uint8

    @property
    @override
    def span(self) -> int:  # type: ignore[override]
        return self.extractor.frames

    @property
    @override
    def stride(self) -> int:  # type: ignore[override]
        return self.extractor.frames

    @property
    @override
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("reference",) if self.paired else ()

    @property
    @override
    def width(self) -> int:
        return self.extractor.width * (1 + self.paired)

    def see(self, seen: Seen) -> Tensor:
        """Frames, and beside them those of the reference, in 256 levels as videos are stored."""
        frames = seen.frames
        if self.paired:
            assert seen.reference is not None
            frames = torch.cat((frames, seen.reference.nan_to_num(0, 0, 0)), 1)
        return (frames * 255).round().to(torch.uint8)

    @override
    def measure(self, kept: Tensor) -> Float[Tensor, "n width"]:
        count = (len(kept) - self.span) // self.span + 1
        clips = kept[: count * self.span].unflatten(0, (count, self.span)).float() / 255
        return torch.cat([self.extractor(part).double() for part in clips.split(3, 2)], 1)

    @override
    def provenance(self) -> dict[str, Any]:
        described = self.extractor.provenance()
        clip = {"clip_frames": self.span, "paired": self.paired, "rate": self.rate}
        return {"by": self.extractor.name, **clip, **described}


class FVD(VideoMetric):
    r"""Fréchet video distance to a reference set, a mean over stretches of time; down, from 0.

    .. math:: |\mu_1 - \mu_2|^2 + \text{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})

    Of features of 16-frame clips that do not overlap (Unterthiner et al. 2018, arXiv 1812.01717),
    covariances unbiased. Each stretch of `bin_seconds` is compared on its own, with the clips of
    the reference's same stretch, or with one reference for all; `curves["by_time"]` has them. No
    unit; numbers of different extractors, preprocessing, clip counts or bin lengths never compare.

    Blind spots: I3D mostly judges single frames; the estimate is biased upwards with few clips:
    2048 are usual, and below `least` of either set there is NaN with its reason.

    >>> import torch
    >>> class Mean(VideoExtractor):
    ...     name, width = "mean", 3
    ...
    ...     def __call__(self, clips):
    ...         return clips.mean((1, 3, 4))
    ...
    ...     def provenance(self):
    ...         return {"extractor": self.name}
    >>> metric = FVD(Mean(), least=4)
    >>> for video in range(4):
    ...     frames = torch.rand(16, 3, 8, 8)
    ...     metric.update(frames, video, fps=8, reference=frames)
    >>> metric.name, abs(round(float(metric.compute()), 6))
    ('FVD[mean]', 0.0)

    Attributes:
        extractor: what makes features of clips, by name in the result.
        reference: the reference's moments; None takes them from `update(reference=frames)`.
        bin_seconds: length of a stretch; None takes whole videos as one.
        least: clips of either set without which no stretch is scored.
        rate: frames per second of clips; None for the video's own.
    """

    higher_is_better = False

    def __init__(
        self,
        extractor: VideoExtractor,
        reference: Moments | None = None,
        bin_seconds: float | None = 10.0,
        least: int = _PRACTICAL,
        rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        if bin_seconds is not None and not bin_seconds > 0:
            raise ValueError(f"bin_seconds={bin_seconds} must be positive, or None")
        if least < 2:
            raise ValueError(f"least={least} clips have no covariance; ask for 2 or more")
        if reference is not None and len(reference.mean) != extractor.width:
            raise ValueError(
                f"the reference has {len(reference.mean)} features, {extractor.name} makes "
                f"{extractor.width}"
            )
        super().__init__(ClipFeatures(extractor, reference is None, rate), window=None, **kwargs)
        self.extractor, self.reference = extractor, reference
        self.bin_seconds, self.least = bin_seconds, least

    @override
    def score(self, videos: list[Scored]) -> Result:
        bins: dict[int, list[Tensor]] = {}
        for video in videos:
            for seconds, row in zip(video.seconds.tolist(), video.sums, strict=True):
                bins.setdefault(int(seconds // (self.bin_seconds or float("inf"))), []).append(row)
        reasons: dict[int | None, str] = {video.video_id: _OF_A_SET for video in videos}
        distances = {}
        for number, rows in sorted(bins.items()):
            distances[number] = self._distance(torch.stack(rows))
        few = {n: len(bins[n]) for n, value in distances.items() if value != value}
        if few:
            reasons[None] = (
                f"{so_many(min(few.values()), 'clip')} in a stretch of time, {self.least} are "
                f"needed; give more videos, or least=... if you know what you do"
            )
        elif videos and not bins:
            reasons[None] = f"no video has {self.extractor.frames} frames"
        complete = bool(distances) and not few
        numbers = list(distances)
        curves = {
            "by_time": torch.tensor([distances[n] for n in numbers], dtype=torch.float64),
            "seconds": torch.tensor(
                [n * (self.bin_seconds or 0.0) for n in numbers], dtype=torch.float64
            ),
            "clips": torch.tensor([len(bins[n]) for n in numbers], dtype=torch.float64),
        }
        return self.answer(
            mean(distances.values()) if complete else float("nan"),
            {video.video_id: float("nan") for video in videos},
            reasons=reasons,
            curves=curves,
        )

    def _distance(self, rows: Float[Tensor, "n width"]) -> float:
        reference = self.reference
        if min(len(rows), self.least if reference is None else reference.count) < self.least:
            return float("nan")
        width = self.extractor.width
        target = Moments.of(rows[:, width:]) if reference is None else reference
        return frechet_distance(Moments.of(rows[:, :width]), target)

    @override
    def provenance(self) -> dict[str, Any]:
        reference = None if self.reference is None else self.reference.digest()
        settings = {"bin_seconds": self.bin_seconds, "least": self.least, "reference": reference}
        return {**super().provenance(), **settings}
