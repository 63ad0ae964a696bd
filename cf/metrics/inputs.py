"""The checks of an update, the same for every metric, each with one clear error."""

from collections.abc import Iterable, Mapping
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor

from cf.files.counts import so_many
from cf.metrics.measurement import Measurement, Seen


def rate_of(fps: float) -> Fraction:
    """Frames per second as an exact fraction."""
    if not 0 < fps < 1000:
        raise ValueError(f"fps={fps} must be a positive number of frames per second below 1000")
    return Fraction(fps).limit_denominator(1001)


def check_frames(frames: Tensor, what: str) -> None:
    """Raise a ValueError for a wrong shape, range or dtype."""
    if not isinstance(frames, Tensor) or frames.ndim != 4 or frames.shape[1] != 3:
        shape = tuple(frames.shape) if isinstance(frames, Tensor) else type(frames).__name__
        raise ValueError(f"{what} must be a tensor of shape (t, 3, h, w), got {shape}")
    if not len(frames) or not frames.shape[2] or not frames.shape[3]:
        raise ValueError(f"{what} must not be empty, got shape {tuple(frames.shape)}")
    if frames.dtype == torch.uint8:
        return
    if not frames.is_floating_point():
        raise ValueError(f"{what} must be floats in [0, 1] or uint8, got {frames.dtype}")
    low, high = torch.aminmax(frames)
    if low >= 0 and high <= 1:  # false if any of them is no number
        return
    finite = frames[torch.isfinite(frames)]
    if len(finite) and (finite.min() < 0 or finite.max() > 1):
        raise ValueError(
            f"{what} must lie in [0, 1], got {float(finite.min()):.9g} to "
            f"{float(finite.max()):.9g}; clamp them, or rescale from [-1, 1] by (x + 1) / 2"
        )


def pixels_of(frames: Tensor) -> Float[Tensor, "t 3 h w"]:
    """Frames as floats in [0, 1]; what is no number becomes 0."""
    if frames.dtype == torch.uint8:
        return frames.float().div_(255)  # in place: an hour of video is large
    return frames.float().nan_to_num(0, 0, 0)


def refuse_misfits(
    known: tuple[Iterable[Tensor], Iterable[Tensor]],
    video: int,
    first: int,
    stop: int,
    fps: Fraction,
    size: list[int],
) -> None:
    """Raise a ValueError if the piece does not fit to what has been seen of its video."""
    for runs in known[0]:
        rows = runs.cpu().numpy()
        pieces = rows[rows[:, 0] == video]
        twice = pieces[(pieces[:, 1] < stop) & (pieces[:, 2] > first)]
        if len(twice):
            raise ValueError(
                f"frame {max(first, int(twice[0, 1]))} of video {video} was delivered twice; "
                f"hand every frame over once, or call reset() first"
            )
        if len(pieces) and pieces[0, 3:5].tolist() != [fps.numerator, fps.denominator]:
            raise ValueError(
                f"video {video} had fps={int(pieces[0, 3]) / int(pieces[0, 4]):g} and now has "
                f"fps={float(fps):g}; a video has one"
            )
    for segments in known[1]:
        rows = segments.cpu().numpy()
        sizes = rows[rows[:, 0] == video, 5:]
        if len(sizes) and sizes[0].tolist() != size:
            raise ValueError(
                f"frames of video {video} were {sizes[0].tolist()} pixels and are now {size}; "
                f"hand over frames of one size"
            )


def seen_of(
    name: str,
    measurement: Measurement,
    frames: Tensor,
    reference: Tensor | None,
    truth: Mapping[str, Tensor],
    sampled: slice,
) -> Seen:
    """The inputs that a measurement needs, of those frames of an update that it samples."""
    for need in measurement.needs:
        if (reference is None) if need == "reference" else need not in truth:
            raise ValueError(
                f"{name} compares with the truth: give update(..., "
                + ("reference=frames)" if need == "reference" else f"truth={{{need!r}: ...}})")
            )
    needed = {name: truth[name].cpu() for name in measurement.needs if name != "reference"}
    for name, rows in needed.items():
        if len(rows) != len(frames):
            raise ValueError(
                f"truth[{name!r}] has {so_many(len(rows), 'row')} for "
                f"{so_many(len(frames), 'frame')}"
            )
    true = None
    if "reference" in measurement.needs:
        assert reference is not None
        check_frames(reference, "reference")
        if reference.shape != frames.shape:
            raise ValueError(
                f"reference has shape {tuple(reference.shape)}, frames have {tuple(frames.shape)}"
            )
        true = pixels_of(reference[sampled])
    looked_at = frames[sampled]
    if frames.dtype != torch.uint8 or not measurement.takes_bytes:
        looked_at = pixels_of(looked_at)
    return Seen(looked_at, true, {name: rows[sampled] for name, rows in needed.items()})
