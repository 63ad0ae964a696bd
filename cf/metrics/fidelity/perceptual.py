"""Learned perceptual distance (LPIPS) to a reference, its weights found on this machine alone."""

import warnings
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import lpips
import torch
from jaxtyping import Float
from torch import Tensor, nn

from cf.files.pickled import load_tensors
from cf.metrics.extractors.lookup import find
from cf.metrics.fidelity.full_reference import FullReference

Net = Literal["alex", "vgg", "squeeze", "st-alex", "st-vgg"]
_BATCH = 8  # on a GPU; on a CPU one pair at a time, whose sums depend on no other
_LEAST: dict[Net, int] = {
    "alex": 31,
    "vgg": 16,
    "squeeze": 17,
    "st-alex": 21,
    "st-vgg": 18,
}
"""Pixels of height and width below which a backbone's last layer is empty."""


class Perceptual:
    """LPIPS of each pair of frames, as the `lpips` package computes it (version 0.1, normalised).

    Attributes:
        net: the backbone; linear heads come with the package. `st-alex` and `st-vgg` are shift
            tolerant LPIPS (Ghildyal and Liu 2022, arXiv 2207.13686), which hardly minds a shift
            by a pixel or two: backbone and heads of the package `stlpips_pytorch`, extra
            `st-lpips`.
        weights: torchvision's file of the backbone, or the package's file of a shift tolerant
            network; None looks where published weights may lie.
        random: a seed gives a random backbone instead: a stub for tests, no evidence of anything.
        device: on which it runs.
    """

    higher_is_better = False

    def __init__(
        self,
        net: Net = "alex",
        weights: str | Path | None = None,
        random: int | None = None,
        device: str = "cpu",
    ) -> None:
        if random is not None and weights is not None:
            raise ValueError(f"give weights={str(weights)!r} or random={random}, not both")
        self.net, self.random, self.device = net, random, device
        self.file = find(f"lpips-{net}", weights) if random is None else None

    @property
    def name(self) -> str:
        """Of the backbone; a random one says so."""
        return f"lpips-{self.net}" + ("" if self.random is None else "-random")

    @property
    def version(self) -> str:
        """Of the published weights."""
        return "ST0.0" if self.net.startswith("st-") else "0.1"

    @cached_property
    def network(self) -> nn.Module:
        """The package's own, with the backbone read from the file.

        Raises:
            ImportError: if the package of a shift tolerant network is not installed.
        """
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # The package asks torchvision in a way that newer versions of it deprecate.
            warnings.simplefilter("ignore")
            torch.manual_seed(self.random or 0)
            network = _network(self.net)
        if self.file is not None:
            state = load_tensors(self.file.path)
            if self.net.startswith("st-"):
                _fill_all(network, state, self.file.path)
            else:
                _fill(network.net, state)
        frozen: nn.Module = network.eval().requires_grad_(False).to(self.device)
        return frozen

    def __call__(
        self, frames: Float[Tensor, "t 3 h w"], true: Float[Tensor, "t 3 h w"]
    ) -> Float[Tensor, " t"]:
        """See `FrameSimilarity`; batches have one size, so rounding never depends on them."""
        height, width = frames.shape[-2:]
        if min(height, width) < _LEAST[self.net]:
            raise ValueError(
                f"frames of {height} x {width} pixels are too small for LPIPS under {self.net}; "
                f"enlarge them to at least {_LEAST[self.net]}"
            )
        distances = []
        batch = 1 if torch.device(self.device).type == "cpu" else _BATCH
        for piece, target in zip(frames.split(batch), true.split(batch), strict=True):
            count = len(piece)
            pair = [
                torch.cat((part, part[:1].expand(batch - count, -1, -1, -1))).to(self.device)
                for part in (piece.float(), target.float())
            ]
            with torch.no_grad():
                distances.append(
                    self.network(*pair, normalize=True).reshape(-1)[:count].cpu().double()
                )
        return torch.cat(distances)

    def provenance(self) -> dict[str, Any]:
        """See `FrameSimilarity`."""
        weights = {"random": self.random} if self.file is None else {"sha256": self.file.sha256}
        return {
            "by": self.name,
            "compared": "lpips",
            "version": self.version,
            "net": self.net,
            **weights,
        }


def _network(net: Net) -> Any:
    if not net.startswith("st-"):
        return lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    try:
        from stlpips_pytorch import stlpips
    except ImportError as error:
        raise ImportError(
            f"shift tolerant LPIPS cannot be loaded ({error}): pip install -e '.[st-lpips]'"
        ) from error
    settings = {"variant": "shift_tolerant", "pretrained": False, "verbose": False}
    return stlpips.LPIPS(net=net.removeprefix("st-"), **settings)


def _fill_all(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Backbone and heads; each head has a second name, by its place in a list."""
    again = {f"lins.{name[3:]}": x for name, x in state.items() if name.startswith("lin")}
    try:
        network.load_state_dict(state | again)
    except RuntimeError as error:
        raise ValueError(f"{path} holds other weights: {error}") from error


def _fill(backbone: nn.Module, state: dict[str, Tensor]) -> None:
    """Weights of torchvision's `features.<n>.*`, whichever slice holds layer n."""
    expected = backbone.state_dict()
    wanted = {name: "features." + name.split(".", 1)[1] for name in expected}
    missing = sorted(set(wanted.values()) - state.keys())
    if missing:
        raise ValueError(
            f"the file lacks {', '.join(missing[:3])}; give torchvision's own for this net"
        )
    backbone.load_state_dict({name: state[source] for name, source in wanted.items()})


class LPIPS(FullReference):
    """Learned perceptual distance to a reference; down, 0 for equal frames, no unit.

    Mean over frames of Zhang et al. 2018 (arXiv 1801.03924), version 0.1, computed by the `lpips`
    package with its own linear heads; the backbone's weights are read from a local file and never
    downloaded. Trained on patches of 64 pixels: blind to long-range layout, and its size depends
    on that of the frames. Different backbones are different metrics, as the name says.

    Attributes:
        net, weights, random, device: see `Perceptual`.

    >>> import torch
    >>> metric = LPIPS("squeeze", random=0)
    >>> frames = torch.rand(2, 3, 32, 32)
    >>> metric.update(frames, 0, fps=8, reference=frames)
    >>> metric.name, float(metric.compute())
    ('LPIPS[lpips-squeeze-random]', 0.0)
    """

    higher_is_better = False

    def __init__(
        self,
        net: Net = "alex",
        weights: str | Path | None = None,
        random: int | None = None,
        device: str = "cpu",
        window: float | None = 1.0,
        rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.comparison = Perceptual(net, weights, random, device)
        super().__init__(window, rate, **kwargs)
