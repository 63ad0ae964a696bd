"""The responsibility matrix: which metric answers for which distortion, and what all overlook."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from distortions import Scene, distorted

from cf.data.world.walk import Walk
from cf.metrics.base import VideoMetric, together

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_VIEWS = 10.0  # width of a scene in pictures: its camera does not come back by itself
_PROMPTS = 1000  # apart from the other scenes, whose numbers begin at 0


@dataclass(frozen=True)
class Expected:
    """What a metric answers for.

    Attributes:
        metric: a new one.
        must_respond: distortions with which it rises (1) or falls (-1), strictly, at every step.
        may_respond: distortions that it notices although other metrics answer for them.
        known_blind: distortions at whose full strength it calls the video better, a known
            weakness. All distortions that are in none of the three must leave it.
        tolerance: change within which it counts as left.
        scale: change that a picture shows in full colour.
        scenes: that it needs; metrics of sets compare several.
        read: its number, of several; the headline if None.
    """

    metric: Callable[[], VideoMetric]
    must_respond: Mapping[str, int]
    may_respond: frozenset[str] = frozenset()
    known_blind: frozenset[str] = frozenset()
    tolerance: float = 0.05
    scale: float = 1.0
    scenes: int = 2
    read: str | None = None

    def value(self, metric: VideoMetric) -> float:
        """Read off a metric that has seen the scenes."""
        result = metric.result()
        return result.value if self.read is None else float(result.extras[self.read])


def scenes(count: int, seconds: float = 12.0, fps: float = 8.0, side: int = 64) -> list[Scene]:
    """Single shots of WALK: a camera that strolls among sprites, another place in each."""
    world = Walk((side, side), _VIEWS, num_places=1, place_sprites=4, cut=0.0, turn=0.0)
    frames = round(seconds * fps)
    mine = world.draw(seed=0, numbers=range(count), frames=frames)
    others = world.draw(seed=0, numbers=range(_PROMPTS, _PROMPTS + count), frames=frames)
    instance = mine.truth.instance
    assert instance is not None
    made = []
    for video, other, seen in zip(mine.video, others.video, instance, strict=True):
        sprite = max(range(1, 5), key=lambda number: int((seen == number).sum()))
        made.append(Scene(video, other, seen == sprite, fps))
    return made


@dataclass
class Matrix:
    """Values of metrics under distortions, measured when asked for.

    Attributes:
        expected: by the name of the metric's row.
    """

    expected: Mapping[str, Expected]
    shown: Sequence[Scene]
    values: dict[tuple[str, str, float], float] = field(default_factory=dict)

    def measure(self, names: Iterable[str], distortion: str, strength: float) -> None:
        """Let metrics see the scenes under a distortion, those of equal measurements at once."""
        wanted = [n for n in names if (n, *_point(distortion, strength)) not in self.values]
        if not wanted:
            return
        made = {name: self.expected[name].metric() for name in wanted}
        metrics = {
            name: next(o for o in made.values() if o.name == m.name) for name, m in made.items()
        }
        most = max(self.expected[name].scenes for name in wanted)
        for number, scene in enumerate(self.shown[:most]):
            video = distorted(distortion, scene, strength, seed=number)
            mine = {id(m): m for n, m in metrics.items() if number < self.expected[n].scenes}
            together([*mine.values()]).update(video, number, fps=scene.fps, prompt_id=number)
        for name, metric in metrics.items():
            value = self.expected[name].value(metric)
            self.values[name, *_point(distortion, strength)] = value

    def value(self, name: str, distortion: str, strength: float) -> float:
        """Of one metric."""
        self.measure([name], distortion, strength)
        return self.values[name, *_point(distortion, strength)]

    def change(self, name: str, distortion: str, strength: float = 1.0) -> float:
        """Against the undistorted scenes."""
        return self.value(name, distortion, strength) - self.value(name, distortion, 0.0)

    def steps(self, name: str, distortion: str) -> list[float]:
        """From each strength to the next."""
        values = [self.value(name, distortion, strength) for strength in STRENGTHS]
        return [after - before for before, after in pairwise(values)]


def _point(distortion: str, strength: float) -> tuple[str, float]:
    """Without strength all distortions are one."""
    return (distortion if strength else "", strength)
