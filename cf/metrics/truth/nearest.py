"""Which of several pictures one is nearest to, and how often chance alone would be right."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

ALIKE = 0.02
"""Mean absolute difference, of pixels in [0, 1], below which two pictures show the same."""


class Choice(NamedTuple):
    """A picture's choice among k equally likely answers, each of them in several versions.

    Attributes:
        right: 1 if the truth looks as the nearest answer does, otherwise 0.
        chance: the same if the truth were any of the answers.
        room: what a picture that is right has above chance.
        answer: the nearest answer; the last is the truth.
        version: the nearest version of it.
    """

    right: float
    chance: float
    room: float
    answer: int
    version: int


def nearest_choice(
    made: Float[np.ndarray, "h w 3"],
    family: Float[np.ndarray, "k versions h w 3"],
    mask: Bool[np.ndarray, "h w"],
) -> Choice:
    """What a picture is nearest to in mean squared error over a mask, the truth being the last.

    The answers are exchangeable: whoever knows nothing of the truth is as near to any of them, so
    the truth is among the answers that look like the nearest one in their number out of k. Answers
    that look like the truth are right as it is, and leave less room above chance. A tie with
    another answer goes to that. A version that looks like the plain one, the first, is left out.
    """
    inside = np.flatnonzero(mask)  # taken by number, which takes half of the time of a mask
    flat = family.reshape(*family.shape[:2], -1, 3).take(inside, 2)
    picked = made.reshape(-1, 3)[inside].astype(np.float32, copy=False)
    pixels = flat.astype(np.float32, copy=False)
    plain = pixels[:, 0]
    error = np.square(pixels - picked).mean((2, 3), dtype=np.float64)
    same = np.abs(pixels[:, 1:] - plain[:, None]).mean((2, 3), dtype=np.float64) < ALIKE
    error[:, 1:][same] = np.inf
    answer, version = np.unravel_index(int(error.argmin()), error.shape)
    like_answer, like_truth = (
        np.abs(plain - plain[index]).mean((1, 2), dtype=np.float64) < ALIKE
        for index in (answer, -1)
    )
    right, chance = float(like_answer[-1]), float(like_answer.mean())
    return Choice(right, chance, 1 - float(like_truth.mean()), int(answer), int(version))
