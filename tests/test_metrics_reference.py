"""Full reference and FVD against the packages that define them."""

import math
from pathlib import Path
from typing import Any

import lpips
import numpy as np
import pytest
import scipy.linalg
import torch
import torchvision
from metrics_recall import Moving
from torch import Tensor, nn
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from cf.metrics.fidelity.frechet import Moments, frechet_distance
from cf.metrics.fidelity.full_reference import PSNR, SSIM
from cf.metrics.fidelity.fvd import FVD, I3D
from cf.metrics.fidelity.perceptual import LPIPS, Net, Perceptual
from cf.metrics.recall.revisit import RevisitLPIPS


def pair(frames: int = 10, size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    true = torch.rand(frames, 3, size, size, generator=random)
    strength = torch.linspace(0.02, 0.6, frames)[:, None, None, None]
    noise = torch.randn(true.shape, generator=random) * strength
    return (true + noise).clamp(0, 1), true


def test_psnr_is_the_mean_of_decibels() -> None:
    made, true = pair()
    metric = PSNR()
    metric.update(made, 0, fps=5, reference=true)
    each = [
        float(peak_signal_noise_ratio(a, b, data_range=1.0))
        for a, b in zip(made, true, strict=True)
    ]
    found = metric.result()
    assert found.value == pytest.approx(sum(each) / len(each), abs=1e-4)
    pooled = float(peak_signal_noise_ratio(made, true, data_range=1.0))
    assert found.value > pooled + 1
    np.testing.assert_allclose(found.per_window[0], [np.mean(each[:5]), np.mean(each[5:])], 1e-5)


def test_ssim_is_that_of_torchmetrics() -> None:
    made, true = pair()
    metric = SSIM()
    metric.update(made, 0, fps=5, reference=true)
    theirs = structural_similarity_index_measure(made.double(), true.double(), data_range=1.0)
    assert float(metric.compute()) == pytest.approx(float(theirs), abs=1e-12)
    with pytest.raises(ValueError, match="smaller than SSIM's window"):
        SSIM().update(made[..., :8, :8], 0, fps=5, reference=true[..., :8, :8])


def test_without_the_reference_there_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match=r"give update\(\.\.\., reference=frames\)"):
        PSNR().update(pair()[0], 0, fps=5)


@pytest.mark.parametrize("net", ["alex", "squeeze"])
@pytest.mark.filterwarnings("ignore:The parameter 'pretrained'", "ignore:Arguments other than")
@pytest.mark.whole
def test_lpips_is_that_of_its_package_on_the_same_random_weights(net: Net) -> None:
    torch.manual_seed(3)
    theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    metric = LPIPS(net, random=3)
    made, true = pair(11, 64)
    metric.update(made, 0, fps=11, reference=true)
    with torch.no_grad():
        expected = theirs(made, true, normalize=True).mean()
    assert float(expected) > 0.01
    assert float(metric.compute()) == pytest.approx(float(expected), rel=1e-5)
    assert metric.name == f"LPIPS[lpips-{net}-random]"


def test_lpips_does_not_touch_the_random_state() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    Perceptual("squeeze", random=1).network  # noqa: B018  (it is built on first use)
    assert torch.equal(before, torch.get_rng_state())


def test_a_missing_backbone_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CF_WEIGHTS", str(tmp_path / "own"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(FileNotFoundError) as told:
        LPIPS("alex")
    message = str(told.value)
    for part in ("own/lpips-alex/alexnet-owt-7be5be79.pth", "torch/hub/checkpoints/alexnet"):
        assert part in message
    assert "python -m cf.weights fetch lpips-alex" in message
    with pytest.raises(FileNotFoundError, match="nowhere"):
        RevisitLPIPS("alex", weights=tmp_path / "nowhere.pth")
    with pytest.raises(ValueError, match="not both"):
        LPIPS("alex", weights="x", random=0)


def test_a_backbone_in_torchvisions_format_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(5)
    backbone = torchvision.models.squeezenet1_1(weights=None)
    place = tmp_path / "lpips-squeeze" / "squeezenet1_1-b8a52dc0.pth"
    place.parent.mkdir()
    torch.save(backbone.state_dict(), place)
    monkeypatch.setenv("CF_WEIGHTS", str(tmp_path))
    with pytest.raises(ValueError, match="not the published"):
        LPIPS("squeeze")
    metric = LPIPS("squeeze", weights=place)
    network: Any = metric.measurement.comparison.network
    torch.testing.assert_close(
        network.net.slice2[1].squeeze.weight, backbone.features[3].squeeze.weight
    )
    provenance = metric.provenance()
    assert len(provenance["sha256"]) == 64
    assert metric.name == "LPIPS[lpips-squeeze]"
    torch.save({"features.0.weight": torch.zeros(1)}, place)
    with pytest.raises(ValueError, match=r"the file lacks features\.0\.bias"):
        LPIPS("squeeze", weights=place).update(*[pair()[0], 0], fps=5, reference=pair()[1])


def scipys(one: np.ndarray, other: np.ndarray) -> float:
    covariances = [np.cov(x, rowvar=False) for x in (one, other)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    apart = np.square(one.mean(0) - other.mean(0)).sum()
    return float(apart + np.trace(covariances[0] + covariances[1] - 2 * np.real(root)))


@pytest.mark.parametrize("count", [12, 200])
def test_frechet_distance_is_that_of_the_matrix_root(count: int) -> None:
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((8, 8))
    one, other = rng.standard_normal((count, 8)) @ mix, rng.standard_normal((count + 5, 8)) + 0.3
    found = frechet_distance(*(Moments.of(torch.from_numpy(x)) for x in (one, other)))
    assert found == pytest.approx(scipys(one, other), rel=1e-9)


def test_singular_covariances_are_no_trouble() -> None:
    rng = np.random.default_rng(0)
    flat = torch.from_numpy(rng.standard_normal((5, 12)))
    assert frechet_distance(Moments.of(flat), Moments.of(flat)) == pytest.approx(0, abs=1e-6)


def clips(videos: int, frames: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    level = torch.rand(videos, 1, 3, 1, 1, generator=random)
    noise = torch.rand(videos, frames, 3, 8, 8, generator=random)
    return ((level + 0.4 * noise).clamp(0, 1) * 255).round().byte()


def test_fvd_is_that_of_its_clips_in_each_stretch_of_time() -> None:
    made, true = clips(20, 70, 0), clips(20, 70, 1)
    metric = FVD(Moving(), bin_seconds=4.0, least=20)
    for number in range(20):
        for start in range(0, 70, 7):
            part = slice(start, start + 7)
            metric.update(made[number, part], number, start, fps=8, reference=true[number, part])
    found = metric.result()
    extractor = Moving()
    expected = []
    for first in (0, 32):  # two clips in each four seconds
        features = [
            torch.cat([extractor(x[:, at : at + 16].float() / 255) for at in (first, first + 16)])
            for x in (made, true)
        ]
        expected.append(scipys(*(x.double().numpy() for x in features)))
    np.testing.assert_allclose(found.curves["by_time"], expected, rtol=1e-6)
    assert found.value == pytest.approx(np.mean(expected), rel=1e-6)
    assert found.curves["clips"].tolist() == [40, 40]
    assert math.isnan(found.per_video[0])
    assert "between sets" in found.reasons[0]


def test_fvd_with_a_known_reference_needs_no_frames() -> None:
    made, true = clips(20, 16, 0), clips(30, 16, 1)
    reference = Moments.of(Moving()(true.float() / 255))
    metric = FVD(Moving(), reference, bin_seconds=None, least=20)
    for number in range(20):
        metric.update(made[number], number, fps=8)
    own = Moments.of(Moving()(made.float() / 255))
    assert float(metric.compute()) == pytest.approx(frechet_distance(own, reference), rel=1e-6)
    assert metric.provenance()["reference"].startswith("30 clips, ")


def test_too_few_clips_have_no_distance() -> None:
    metric = FVD(Moving())
    metric.update(clips(1, 40, 0)[0], 0, fps=8, reference=clips(1, 40, 1)[0])
    found = metric.result()
    assert math.isnan(found.value)
    assert "2 clips in a stretch of time, 256 are needed" in found.reasons[None]
    metric.reset()
    metric.update(clips(1, 9, 0)[0], 0, fps=8, reference=clips(1, 9, 1)[0])
    assert metric.result().reasons[None] == "no video has 16 frames"
    with pytest.raises(ValueError, match="least=1"):
        FVD(Moving(), least=1)
    with pytest.raises(ValueError, match="the reference has 2 features, moving makes 4"):
        FVD(Moving(), Moments.of(torch.rand(3, 2)))


class Scripted(nn.Module):
    """The published file's way of being called, with 400 numbers that a test can check."""

    def forward(
        self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> Tensor:
        assert not rescale
        assert not resize
        assert return_features
        assert x.shape[1:] == (3, 16, 224, 224)
        return x.mean(dim=(1, 3, 4)).repeat(1, 25)


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning"
)
def test_i3d_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "i3d.pt"
    torch.jit.script(Scripted()).save(str(file))
    extractor = I3D(file)
    made = clips(2, 16, 0).float() / 255
    features = extractor(made)
    assert features.shape == (2, 400)
    expected = 2 * made.mean((2, 3, 4)) - 1
    torch.testing.assert_close(features[:, :16], expected, rtol=1e-3, atol=1e-3)
    assert len(extractor.provenance()["sha256"]) == 64
    with pytest.raises(FileNotFoundError, match="no I3D at"):
        I3D(tmp_path / "none.pt")
