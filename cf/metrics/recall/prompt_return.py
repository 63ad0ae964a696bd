"""Whether a video whose prompt comes back shows again what it had shown under it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.extractors.base import Extractor
from cf.metrics.features import Features
from cf.metrics.grid import PromptPart, prompt_parts
from cf.metrics.readings import over_prompts
from cf.metrics.recall.l50 import crossing, crossing_interval, falling
from cf.metrics.result import Result, mean
from cf.metrics.scored import Scored
from cf.metrics.text.texts import Texts

_NEVER = "its prompt never comes back after another one"


@dataclass(frozen=True)
class PromptReturn:
    """What is read of one video.

    Attributes:
        lag: seconds under other prompts.
        before, after: mean feature of the windows that are compared.
        shows: how much more the parts are like their own text than like the other: before the
            other prompt, under it, and after the return; None if nobody asks.
        later, seconds: features of every window after the return, and when each begins.
    """

    lag: float
    before: Float[Tensor, " d"]
    after: Float[Tensor, " d"]
    shows: tuple[float, float, float] | None
    later: Float[Tensor, "k d"]
    seconds: Float[Tensor, " k"]


class PromptReturnRecall(VideoMetric):
    r"""Share of what a prompt's video had shown that is there again when the prompt returns; up.

    .. math:: R_v = \frac{\langle m_v, r_v \rangle - \kappa_v}{\langle m_v, m_v \rangle - \kappa_v},
        \qquad \kappa_v = \text{mean}_{u:\, \text{other seeds}} \langle m_v, m_u \rangle

    A video is made for texts A, B and A again. :math:`m_v` is the mean unit feature of the last
    `span` seconds under the first A, :math:`r_v` that of as many seconds under the second one,
    from `skip` seconds after its beginning. The text says what kind of thing A is, and not which
    one: what other seeds make of A is as like as the text alone accounts for. 1: the same came
    back. 0: a new one came, as another seed's. Values below 0 and above 1 are possible.

    The text gates: a video that does not show A before, or does not show B meanwhile, has not left
    and has no value; one that does not show A after the return has 0. A part shows its text if it
    is more like it than like the other. The value is a mean over videos, then prompts. `extras`
    has `lag_<seconds>`, and `horizon`: the seconds under B after which half of what the shortest
    has is left, with `low` and `high` (95 % bootstrap over prompts) and `censored` (1: beyond the
    longest, -1: before the shortest), NaN where the shortest recalls less than `least`; `left` and
    `returned` are shares of videos. Definition: this project's. Blind spots: those of the
    extractor; a generator whose seeds make one and the same A has no value; one that keeps still
    through B is told by the gate alone.

    Attributes:
        texts: prompt_id -> text; null in settings takes the videos' own prompts.
        span, skip: seconds that are compared on either side, and that pass before.
        gated: False leaves the texts out, for extractors without a text tower.
        distinct: the least that other seeds' A must differ; below it a video has no value.
        least: recall at the shortest lag that there is to lose.
        resamples: of the bootstrap.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = PromptReturnRecall(MeanColour(), {7: "a red wall", 8: "a blue wall"}, skip=0)
    >>> for seed, tint in enumerate((1, 2)):
    ...     wall = torch.zeros(24, 3, 8, 8)
    ...     wall[:, 0], wall[:, tint] = 1, 0.5
    ...     wall[8:16] = torch.tensor([0.0, 0, 1])[:, None, None]
    ...     for i, prompt in enumerate((7, 8, 7)):
    ...         part = wall[8 * i : 8 * i + 8]
    ...         metric.update(part, seed, 8 * i, fps=2, prompt_id=prompt, seed=seed)
    >>> round(float(metric.compute()), 6), metric.result().extras["left"]
    (1.0, 1.0)
    """

    higher_is_better = True

    def __init__(
        self,
        extractor: Extractor,
        texts: Mapping[int, str] | None,
        *,
        span: float = 4.0,
        skip: float = 1.0,
        gated: bool = True,
        distinct: float = 0.02,
        least: float = 0.2,
        resamples: int = 1000,
        rate: float = 4.0,
        window: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(Features(extractor, rate), window, **kwargs)
        if span < window or skip < 0:
            raise ValueError(
                f"span={span} must be at least a window of {window} s, skip={skip} not below 0"
            )
        self.texts = Texts.of(extractor, texts) if gated else None
        self.span, self.skip, self.gated = span, skip, gated
        self.distinct, self.least, self.resamples = distinct, least, resamples
        self.step = window

    @override
    def score(self, videos: list[Scored]) -> Result:
        reasons: dict[int | None, str] = {}
        readings: dict[int, PromptReturn] = {}
        for video in videos:
            try:
                readings[video.video_id] = self._read(video)
            except ValueError as problem:
                reasons[video.video_id] = str(problem)
        values = {video.video_id: math.nan for video in videos}
        curves, windows = {}, {}
        chance = _chance(readings, videos)
        for number, reading in readings.items():
            kappa, own = chance[number], float(reading.before @ reading.before)
            if unfit := self._unfit(reading, own - kappa):
                reasons[number] = unfit
                continue
            back = reading.shows is None or reading.shows[2] > 0
            alike = float(reading.before @ reading.after)
            values[number] = (alike - kappa) / (own - kappa) if back else 0.0
            curves[number] = (reading.later @ reading.before - kappa) / (own - kappa)
            windows[number] = reading.seconds
        lags, extras, note = self._by_lag(values, readings, videos)
        if note:
            reasons[None] = note
        return self.answer(
            over_prompts(values, videos),
            values,
            reasons=reasons,
            per_window=curves,
            windows=windows,
            extras={**_shares(readings), **extras},
            curves=lags,
        )

    @override
    def provenance(self) -> dict[str, Any]:
        texts = {} if self.texts is None else self.texts.provenance()
        names = ("span", "skip", "gated", "distinct", "least")
        return {**super().provenance(), **texts, **{name: getattr(self, name) for name in names}}

    def _read(self, video: Scored) -> PromptReturn:
        """What is compared of a video.

        Raises:
            ValueError: its prompt does not come back, or a part is too short.
        """
        shown = [segment.prompt for segment in video.segments]
        back = [i for i in range(2, len(shown)) if shown[i] == shown[0] != shown[i - 1]]
        if not back or shown[0] is None:
            raise ValueError(_NEVER)
        away, returned = video.segments[back[0] - 1], video.segments[back[0]]
        lag = float((returned.first - video.segments[0].stop) / video.clock.fps)
        parts = prompt_parts(video)
        begins = float(returned.first / video.clock.fps)
        between = [p for p in parts if p.shown == away.prompt and float(p.seconds[0]) < begins]
        after = [p for p in parts if float(p.seconds[0]) >= begins][:1]
        skipped = math.ceil(self.skip / self.step - 1e-9)
        room = min(len(parts[0].means), len(after[0].means) - skipped if after else 0)
        if not between or room < 1 or parts[0].shown != shown[0]:
            raise ValueError(
                f"one of its parts fills no window of {self.step:g} s"
                + (f" behind the first {self.skip:g} s" if self.skip else "")
            )
        count = min(room, math.floor(self.span / self.step + 1e-9))
        before, later = parts[0].means[-count:], after[0].means[skipped:]
        return PromptReturn(
            lag,
            before.mean(0),
            later[:count].mean(0),
            self._shows(before, between[-1], later[:count], parts[0].shown),
            later,
            after[0].seconds[skipped:],
        )

    def _shows(
        self, before: Tensor, between: PromptPart, after: Tensor, own: int | None
    ) -> tuple[float, float, float] | None:
        """How much more each part is like its own text than like the other."""
        if self.texts is None:
            return None
        away, other = between.means[len(between.means) // 2 :], between.shown  # once it is taken up

        def more(rows: Tensor, this: int | None, that: int | None) -> float:
            assert self.texts is not None
            return float((self.texts.likeness(this, rows) - self.texts.likeness(that, rows)).mean())

        return more(before, own, other), more(away, other, own), more(after, own, other)

    def _unfit(self, reading: PromptReturn, distance: float) -> str:
        """Why a video has no value; empty if it has one."""
        if reading.shows is not None and reading.shows[0] <= 0:
            return "before the other prompt it is not like its own text"
        if reading.shows is not None and reading.shows[1] <= 0:
            return "it never left its first text: under the other it is more like the first"
        if math.isnan(distance):
            return "no other seed of its prompt is there to compare with; give two seeds or more"
        if distance < self.distinct:
            return (
                f"other seeds make the same of its text (they differ by {distance:.3g}, and "
                f"{self.distinct:g} is asked for), so that nothing tells its own"
            )
        return ""

    def _by_lag(
        self,
        values: Mapping[int, float],
        readings: Mapping[int, PromptReturn],
        videos: Sequence[Scored],
    ) -> tuple[dict[str, Tensor], dict[str, float], str]:
        """Curves over the lag, further numbers, and why there is no horizon."""
        lags = sorted({round(readings[v].lag, 2) for v, x in values.items() if not math.isnan(x)})
        prompts = sorted({video.prompt for video in videos})
        sums, counts = np.zeros((len(prompts), len(lags))), np.zeros((len(prompts), len(lags)))
        for video in videos:
            if not math.isnan(values[video.video_id]):
                at = prompts.index(video.prompt), lags.index(round(readings[video.video_id].lag, 2))
                sums[at] += values[video.video_id]
                counts[at] += 1
        shares = np.divide(sums, counts, out=np.full_like(sums, math.nan), where=counts > 0)
        means = [mean(column.tolist()) for column in shares.T]
        extras = {f"lag_{lag:g}": value for lag, value in zip(lags, means, strict=True)}
        curves = {"lags": torch.tensor(lags, dtype=torch.double)}
        curves["recall"] = torch.tensor(means, dtype=torch.double)
        if len(lags) < 2:
            return curves, extras, ""
        votes = (counts > 0).astype(float)
        horizon, note = self._horizon(np.array(lags), np.nan_to_num(shares), votes)
        return curves, {**extras, **horizon}, note

    def _horizon(
        self,
        lags: Float[np.ndarray, " lags"],
        recall: Float[np.ndarray, "prompts lags"],
        votes: Float[np.ndarray, "prompts lags"],
    ) -> tuple[dict[str, float], str]:
        """The lag at which half is left, a prompt having one vote at each lag."""
        fitted = falling(recall.sum(0), votes.sum(0))
        if not fitted[0] >= self.least:
            reason = f"no horizon: at the shortest lag {fitted[0]:.2f} is recalled"
            named = ("horizon", "low", "high", "censored")
            return dict.fromkeys(named, math.nan), f"{reason}, and {self.least:g} is asked for"
        where = crossing(lags, fitted, 0.0)
        low, high = crossing_interval(lags, recall, votes, 0.0, self.resamples, 0)
        seconds = float(np.clip(where, lags[0], lags[-1]))
        censored = float(int(where == math.inf) - int(where == 0))
        extras = {"horizon": seconds, "low": low, "high": high, "censored": censored}
        return extras, f"censored: >{lags[-1]:g} s" if censored > 0 else ""


def _chance(readings: Mapping[int, PromptReturn], videos: Sequence[Scored]) -> dict[int, float]:
    """How like each video's first part is to those of other seeds; NaN without any."""
    seeds: dict[int, dict[int, list[Tensor]]] = {}
    seed_of: dict[int, int] = {}
    for video in videos:
        if video.video_id in readings:
            seed_of[video.video_id] = video.video_id if video.seed is None else video.seed
            features = seeds.setdefault(video.prompt, {}).setdefault(seed_of[video.video_id], [])
            features.append(readings[video.video_id].before)
    prompts = {video.video_id: video.prompt for video in videos}
    chance = {}
    for number, reading in readings.items():
        others = [
            float(torch.stack(features).mean(0) @ reading.before)
            for seed, features in seeds[prompts[number]].items()
            if seed != seed_of[number]
        ]
        chance[number] = mean(others)
    return chance


def _shares(readings: Mapping[int, PromptReturn]) -> dict[str, float]:
    """Of all videos: how many left their first text, and how many of these came back to it."""
    shows = [reading.shows for reading in readings.values() if reading.shows is not None]
    gone = [show for show in shows if show[0] > 0 and show[1] > 0]
    if not shows:
        return {}
    returned = mean(float(show[2] > 0) for show in gone)
    return {"left": len(gone) / len(shows), "returned": returned}
