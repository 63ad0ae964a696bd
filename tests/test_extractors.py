"""Extractors of published weights: each frame on its own, prepared as the protocol says."""

import pickle
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import tiny_weights
import torch
from metrics import cut, moving
from torch import Tensor
from torchvision.transforms import Compose, Normalize, Resize
from torchvision.transforms.functional import InterpolationMode

from cf.metrics.base import VideoMetric
from cf.metrics.consistency.vbench_consistency import SubjectConsistencyVBench
from cf.metrics.extractors import choose
from cf.metrics.extractors.base import Extractor
from cf.metrics.extractors.clip import ClipExtractor
from cf.metrics.extractors.dino import Dino
from cf.metrics.extractors.files import read_state
from cf.metrics.extractors.handcrafted import Handcrafted
from cf.metrics.features import Features
from cf.metrics.result import Result
from cf.metrics.scored import Scored


def near(one: Tensor, other: Tensor, by: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, rtol=by, atol=by)


@pytest.fixture
def dino(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Tiny weights that the registry knows as "tiny-dino"."""
    tiny_weights.registered(monkeypatch, "dino-vitb16", "tiny-dino", width=128)
    return tiny_weights.saved(tiny_weights.dino(), tmp_path / "dino_vitbase16_pretrain.pth")


@pytest.fixture
def clip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Tiny weights that the registry knows as "tiny-clip"; pictures of 64 pixels."""
    tiny_weights.registered(monkeypatch, "clip-vit-b32", "tiny-clip", width=64)
    return tiny_weights.saved(tiny_weights.clip(), tmp_path / "ViT-B-32.pt")


@pytest.mark.parametrize("size", [(24, 36), (96, 70)])
def test_frames_are_prepared_as_vbench_does(size: tuple[int, int], dino: Path, clip: Path) -> None:
    """On 0 to 255, in VBench's order of steps."""
    levels = (torch.rand(2, 3, *size) * 255).round()
    theirs = Compose(
        [
            Resize(224, antialias=False),
            lambda x: x.float().div(255.0),
            Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(levels)
    ours = Dino("tiny-dino", dino).prepare(levels / 255)
    assert min(ours.shape[-2:]) == 224
    near(ours, theirs)
    middle = [(size[i] * 64 // min(size) - 64) / 2 for i in (0, 1)]
    sized = Resize(64, InterpolationMode.BICUBIC, antialias=False)(levels) / 255
    top, left = (round(x) for x in middle)
    cropped = sized[..., top : top + 64, left : left + 64]
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    near(ClipExtractor("tiny-clip", clip).prepare(levels / 255), Normalize(mean, std)(cropped))
    assert sized.max() > 1, "nothing overshot, so this shows nothing about clamping"


@pytest.fixture(params=["dino", "clip"])
def extractor(request: pytest.FixtureRequest) -> Extractor:
    path = request.getfixturevalue(request.param)
    return Dino("tiny-dino", path) if request.param == "dino" else ClipExtractor("tiny-clip", path)


def test_features_do_not_depend_on_what_comes_along(extractor: Extractor) -> None:
    frames = torch.rand(5, 3, 32, 40)
    together = extractor(frames)
    assert together.shape == (5, extractor.width)
    assert torch.equal(together, torch.cat([extractor(frame[None]) for frame in frames]))
    assert torch.equal(together[[3, 0]], extractor(frames[[3, 0]]))
    assert extractor(frames[:0]).shape == (0, extractor.width)


def test_batches_are_filled_up_and_change_nothing_but_rounding(dino: Path) -> None:
    frames = torch.rand(5, 3, 32, 40)
    batched = Dino("tiny-dino", dino, batch=4)
    sizes = []
    batched.network.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    near(batched(frames), Dino("tiny-dino", dino)(frames))
    assert sizes == [4, 4]


def test_bytes_and_floats_are_seen_alike_and_an_extractor_pickles(extractor: Extractor) -> None:
    frames = (torch.rand(2, 3, 32, 40) * 255).byte()
    again = pickle.loads(pickle.dumps(extractor))
    assert torch.equal(extractor(frames / 255), again((frames / 255).double()))
    assert torch.equal(extractor(frames), again(frames / 255))
    assert again.provenance() == extractor.provenance()


@pytest.mark.parametrize("takes_bytes", [True, False])
def test_bytes_reach_an_extractor_that_takes_them(takes_bytes: bool) -> None:
    """A piece of an hour would else be four times as large, once for each metric."""
    met = []

    class Spy(Handcrafted):
        def __call__(self, frames: Tensor) -> Tensor:
            met.append(frames.dtype)
            return super().__call__(frames)

    spy = Spy()
    spy.takes_bytes = takes_bytes
    levels = (torch.rand(5, 3, 20, 30) * 255).byte()
    values = []
    for frames in (levels, levels / 255):
        metric = SubjectConsistencyVBench(spy)
        metric.update(frames, 0, fps=4)
        values.append(metric.compute())
    assert met == [torch.uint8 if takes_bytes else torch.float32, torch.float32]
    assert torch.equal(*values)


def test_features_do_not_depend_on_the_precision_that_others_set(
    dino: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(*_: Any) -> None:
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))

    made = Dino("tiny-dino", dino)
    made.network.register_forward_hook(look)
    torch.set_float32_matmul_precision("medium")
    try:
        made(torch.rand(1, 3, 20, 20))
        look()
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == [("highest", False), ("medium", True)]


def test_a_name_makes_the_same_as_its_class(
    dino: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "NAMES", ("tiny-dino", "tiny-clip"))
    for name, path, kind in (("tiny-dino", dino, Dino), ("tiny-clip", clip, ClipExtractor)):
        made = choose.extractor(name, weights=path, batch=2)
        assert isinstance(made, kind)
        assert made.provenance() == kind(name, path, batch=2).provenance()


def test_results_say_what_made_them(dino: Path) -> None:
    seen = Features(Dino("tiny-dino", dino)).provenance()
    assert seen["by"] == seen["extractor"] == "tiny-dino"
    assert len(seen["weights"]["sha256"]) == 64
    assert seen["weights"]["verified"] is False
    assert seen["preprocessing"]["short side"] == 224
    assert seen["tolerance"] == 0
    assert Dino("tiny-dino", dino, batch=2).provenance()["tolerance"] == 1e-4
    assert seen["versions"]["torch"] == torch.__version__
    first = Features(Dino("tiny-dino", dino)).digest()
    tiny_weights.saved({**tiny_weights.dino(), "cls_token": torch.ones(1, 1, 128)}, dino)
    assert Features(Dino("tiny-dino", dino)).digest() != first


class Likeness(VideoMetric):
    """Mean length of the mean feature vector of a second: enough to see a change of features."""

    def score(self, videos: list[Scored]) -> Result:
        lengths = {
            one.video_id: float((one.sums / one.count[:, None]).norm(dim=1).mean())
            for one in videos
        }
        windows = {one.video_id: one.sums.sum(1) for one in videos}
        return self.answer(sum(lengths.values()), lengths, per_window=windows)


@pytest.mark.parametrize("name", ["handcrafted-v2", "tiny-dino"])
def test_chunks_leave_no_trace_in_a_metric_of_features(name: str, dino: Path) -> None:
    made = Handcrafted() if name == "handcrafted-v2" else Dino("tiny-dino", dino)
    one, other = (Likeness(Features(made, rate=4.0)) for _ in range(2))
    for video in moving(2, 12):
        video.give(one)
        for piece in reversed(list(cut(video, 1, 2, 5, 9))):
            piece.give(other)
    assert one.result().name == f"Likeness[{name}]"
    assert abs(one.result().value - other.result().value) < 1e-9
    for video, row in one.result().per_window.items():
        near(row, other.result().per_window[video], 1e-9)


def test_a_file_of_another_width_is_refused(
    clip: Path, dino: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="width 128, but dino-vitb16 has 768"):
        Dino("dino-vitb16", dino)
    with pytest.raises(ValueError, match="not the weights of DINO"):
        Dino("tiny-dino", clip)
    with pytest.raises(ValueError, match="no weights are named 'auto'"):
        Dino("auto")


def test_without_transformers_the_message_says_what_to_install(
    dino: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    for make, name, path in ((Dino, "tiny-dino", dino), (ClipExtractor, "tiny-clip", clip)):
        with pytest.raises(ImportError, match=r"pip install -e '.\[features\]'"):
            make(name, path)


def test_torchscript_is_read_without_running_it(tmp_path: Path) -> None:
    """OpenAI publishes CLIP so, in half precision."""

    class Part(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2)
            self.layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
            self.free = torch.nn.Parameter(torch.randn(3))
            self.register_buffer("input_resolution", torch.tensor(224))

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x) + self.free.sum() * self.input_resolution

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(Part(), torch.rand(2, 8)).half()
        traced.save(str(tmp_path / "part.pt"))
    read = read_state(tmp_path / "part.pt")
    expected = traced.state_dict()
    assert read.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(read[name], weight.float() if weight.is_floating_point() else weight)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("touched"),)


def test_a_file_with_code_is_refused_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.zeros(1), "b": Evil()}, "evil.pth")
    with pytest.raises(ValueError, match=r"nothing in it was run"):
        read_state(Path("evil.pth"))
    assert not Path("touched").exists()
    torch.save({"a": torch.zeros(1), "epoch": 3}, "more.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        read_state(Path("more.pth"))
    for name in ("cut.pth", "cut.safetensors"):
        Path(name).write_bytes(Path("more.pth").read_bytes()[:100])
        with pytest.raises(ValueError, match=f"{name} cannot be read as weights"):
            read_state(Path(name))


def test_a_script_takes_no_memory_that_its_file_does_not_have(tmp_path: Path) -> None:
    """A tensor of more numbers than are stored; a file in which they are packed."""
    script, bomb = tmp_path / "script.pt", tmp_path / "bomb.pt"
    with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated, and published
        torch.jit.save(torch.jit.trace(torch.nn.Linear(128, 64), torch.zeros(1, 128)), script)
    assert read_state(script)["weight"].shape == (64, 128)
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(script) as source, zipfile.ZipFile(bomb, "w", packing) as target:
            for one in source.infolist():
                content = source.read(one)
                if packing == zipfile.ZIP_STORED:
                    content = content.replace(b"(K@K\x80t", b"(K\xffK\x80t")
                elif "/data/" in one.filename:
                    content = bytes(len(content))
                target.writestr(one.filename, content)
        with pytest.raises(ValueError, match=r"nothing in it was run: .*(numbers|packed again)"):
            read_state(bomb)
