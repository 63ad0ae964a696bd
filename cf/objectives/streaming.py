"""A teacher that streams over a whole video while the student gets it clip by clip."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from typing_extensions import override

from cf.objectives.base import Networks, Objective, TimeSampling, Window
from cf.seeding import SampleRandom
from cf.types import Loss, wide


@dataclass(frozen=True)
class StreamingTeacher(Objective):
    """On every clip of a video the student predicts what the teacher predicts with all before it.

    The teacher sees the video from its beginning, through its own view of the past; the student
    begins anew with each clip and sees no earlier one. What the past tells of a clip, the student
    can learn from the teacher alone. Windows of real video and of rollouts are scored alike.

    Attributes:
        times: at which the video is noised.
        clip_frames: of each clip, in latent frames; the last may be shorter.
    """

    times: TimeSampling
    clip_frames: int = 12

    takes_real = True
    predicts = True

    def __post_init__(self) -> None:
        if self.clip_frames < 1:
            raise ValueError(f"clip_frames={self.clip_frames} must be at least 1")

    @override
    def student_loss(self, window: Window, networks: Networks, random: SampleRandom) -> Loss:
        """The squared error of velocities, averaged over all elements of the window."""
        x, clean = window.frames.detach(), window.clean()
        t, _, x_t = self.times.noised(x, random)
        with torch.no_grad():
            wanted = networks.real.velocity(x_t, t, window.cond, clean, window.uncond)
        past, velocities = clean.shape[1] - x.shape[1], []
        for begin in range(0, x.shape[1], self.clip_frames):
            end = min(begin + self.clip_frames, x.shape[1])
            cond = window.cond.frames(past + begin, past + end)
            clip = slice(begin, end)
            velocities.append(networks.student.predict(x_t[:, clip], t[:, clip], cond, x[:, clip]))
        error = F.mse_loss(wide(torch.cat(velocities, 1)), wide(wanted))
        return Loss(error, {"velocity_error": error.detach()})
