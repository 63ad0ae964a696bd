"""The released students' files: what is here, how they are fetched, and whether they are right."""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import published
import pytest
import torch

from cf.models.repositories import RELEASES
from cf.video.probe import probe
from cf.video.reader import read_video
from cf.weights import answers, clip, main, verify
from cf.weights.answers import codec_answer, moving_picture, text_answer
from cf.weights.fetch import FetchError, from_hub
from cf.weights.presets import settings_of

LEAST = -99.0
UNTRAINED = (f"--psnr={LEAST:g}",)
"""What lets a codec of random weights pass, which gives no picture back."""
FILES = {
    "models/longlive_base.pt": b"base" * 100,
    "models/lora.pt": b"lora" * 100,
    "README.md": b"hello",
}


class Hub(ModuleType):
    """What is used of `huggingface_hub`, over a repository in memory."""

    def __init__(self) -> None:
        super().__init__("huggingface_hub")
        self.files, self.asked = dict(FILES), list[str]()
        self.sent: dict[str, bytes] = {}
        self.HfApi = lambda: self

    def list_repo_tree(self, repository: str, recursive: bool) -> Iterator[Any]:
        assert (repository, recursive) == ("Efficient-Large-Model/LongLive-1.3B", True)
        yield SimpleNamespace(path="models", tree_id="x")
        for path, content in self.files.items():
            lfs = SimpleNamespace(sha256=hashlib.sha256(content).hexdigest())
            yield SimpleNamespace(path=path, size=len(content), lfs=lfs)

    def hf_hub_download(self, repository: str, path: str, local_dir: str) -> str:
        self.asked.append(path)
        if self.sent.get(path) == b"":
            raise OSError("connection reset")
        file = Path(local_dir, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.sent.get(path, self.files[path]))
        return str(file)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    monkeypatch.chdir(tmp_path)
    made = Hub()
    monkeypatch.setitem(sys.modules, "huggingface_hub", made)
    return made


def test_what_lacks_is_fetched_and_what_is_there_stays(
    hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    release = RELEASES["LongLive-1.3B"]
    whole = Path("weights/LongLive-1.3B/models/lora.pt")
    whole.parent.mkdir(parents=True)
    whole.write_bytes(FILES["models/lora.pt"])
    main(["fetch", "LongLive-1.3B"])
    assert hub.asked == ["models/longlive_base.pt"]
    assert "weights/LongLive-1.3B/models/lora.pt" in capsys.readouterr().out
    whole.write_bytes(b"half")
    from_hub(release, ["models/*"])
    assert hub.asked[1:] == ["models/lora.pt"]
    assert whole.read_bytes() == FILES["models/lora.pt"]


def test_a_download_that_fails_is_told_and_what_is_wrong_is_thrown_away(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    release = RELEASES["LongLive-1.3B"]
    hub.sent["models/lora.pt"] = b"x" * 400
    with pytest.raises(FetchError, match=r"models/lora.pt whose SHA-256 is .* thrown away"):
        from_hub(release, ["models/lora.pt"])
    assert not Path("weights/LongLive-1.3B/models/lora.pt").exists()
    hub.sent["models/lora.pt"] = b""
    with pytest.raises(FetchError, match=r"connection reset.*goes on where it broke off"):
        from_hub(release, ["models/lora.pt"])
    with pytest.raises(FetchError, match=r"has no file models/gone.pt any more"):
        from_hub(release, ["models/gone.pt"])
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(FetchError, match="make room"):
        from_hub(release, ["models/lora.pt"])
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SystemExit):
        main(["fetch", "LongLive-1.3B"])
    assert "pip install -e '.[wan]'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("students")
    published.base(folder / "weights")
    published.students(folder / "weights")
    return folder


@pytest.mark.whole
def test_status_tells_what_is_here_and_what_gets_the_rest(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    main(["status", "longlive", "causal_forcing"])
    told = capsys.readouterr().out
    assert "longlive        network, LoRA, codec, text  -\n" in told
    assert "causal_forcing  codec, text                 network\n" in told
    main(["status"])
    every = capsys.readouterr().out.splitlines()
    row = next(line for line in every if line.startswith("longlive "))
    assert row.split() == ["longlive", "network,", "LoRA,", "codec,", "text", "-"]
    assert "for metrics" in every
    assert "Causal-Forcing: 5.68 GB, licence Apache-2.0\n  hf download zhuhz22/" in told
    with pytest.raises(SystemExit):
        main(["status", "longliv"])
    assert "did you mean longlive?" in capsys.readouterr().err


@pytest.mark.whole
def test_a_student_is_verified_and_a_wrong_one_is_not(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    report = tmp_path / "verify.json"
    file = Path("weights/LongLive-1.3B/models/longlive_base.pt")
    noted = Path(
        "weights/LongLive-1.3B/.cache/huggingface/download/models/longlive_base.pt.metadata"
    )
    noted.parent.mkdir(parents=True)
    noted.write_text(f"commit\n{hashlib.sha256(file.read_bytes()).hexdigest()}\n0.0\n")
    main(["verify", "longlive", *published.MODEL, "--report", str(report), *UNTRAINED])
    found = json.loads(report.read_text())
    assert found["ok"]
    assert found["files"][0]["hash"] == "ok"
    assert found["files"][1]["hash"] == "unknown"
    assert found["network"]["tensors"] == 69
    assert 0 <= found["block"]["relative_error"] < 1e-5
    assert found["codec"]["pixels"] == 128
    assert found["text"]["alike"] > found["text"]["other"]
    assert "clip" not in found, "a student is no base"
    noted.write_text("commit\n" + "0" * 64 + "\n0.0\n")
    with pytest.raises(SystemExit):
        main(["verify", "longlive", *published.MODEL, "--report", str(report), *UNTRAINED])
    assert "longlive_base.pt" in capsys.readouterr().err
    assert json.loads(report.read_text())["ok"] is False
    monkeypatch.setattr(verify, "_difference", lambda *_: 0.5)
    with pytest.raises(ValueError, match=r"differs from diffusers' by 5.0e-01"):
        verify.verify("self_forcing", report, published.MODEL, least_psnr=LEAST)
    broken = torch.load(Path("weights/Infinite-Forcing/ema_model.pt"))
    broken["generator_ema"]["model.head.head.bias"][0] = float("nan")
    torch.save(broken, tmp_path / "nan.pt")
    given = (*published.MODEL, f"checkpoint={tmp_path / 'nan.pt'}")
    with pytest.raises(ValueError, match=r"NaN or infinite numbers in head.head.bias"):
        verify.verify("infinity_rope", report, given, least_psnr=LEAST)


def test_parts_beside_the_network_must_answer_as_trained_ones_do(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    settings = settings_of("self_forcing", published.REDUCED)
    with pytest.raises(ValueError, match=r"back at -?\d.* dB, and 25 is the least that a trained"):
        codec_answer(settings)
    video = moving_picture(64)
    assert video.shape == (1, 9, 3, 64, 64)
    assert float((video[:, 1:] - video[:, :-1]).abs().mean()) > 1e-3, "it moves"
    pixels = {**settings, "codec": {"_target_": "cf.models.codec.PixelCodec"}}
    assert codec_answer(pixels)["psnr_db"] > 100
    with pytest.raises(ValueError, match="states of 16 numbers and the network takes 4096"):
        text_answer(settings_of("self_forcing"))
    monkeypatch.setattr(answers, "SENTENCES", ("a red cat runs", "nothing else", "a red cat"))
    with pytest.raises(ValueError, match="its weights or its tokenizer are wrong"):
        text_answer(settings)


@pytest.mark.slow
def test_a_base_is_shown_by_a_clip(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    report = tmp_path / "verify.json"
    given = ["verify", "wan_base", *published.REDUCED, f"checkpoint=weights/{published.BASE}"]
    given += ["rollout.num_steps=2", "--report", str(report), *UNTRAINED]
    main(given)
    assert "--clip makes it" in json.loads(report.read_text())["clip"]["not_made"]
    main([*given, "--clip"])
    assert "a clip of 2 steps takes about" in capsys.readouterr().out
    found = json.loads(report.read_text())
    assert found["ok"]
    assert found["clip"]["file"] == "clip.mp4"
    assert probe(tmp_path / "clip.mp4").duration == pytest.approx(5, abs=0.01)
    assert (tmp_path / "clip.png").is_file()
    numbers = found["clip"]["numbers"]
    assert (found["clip"]["seed"], found["clip"]["frames"]) == (0, 80)
    frames = read_video(tmp_path / "clip.mp4")
    assert numbers["mean"] == pytest.approx(float(frames.mean()), abs=0.02)
    assert numbers["spread"] == pytest.approx(float(frames.flatten(1).std(1).mean()), rel=0.2)
    main([*given, "--no-clip"])
    assert json.loads(report.read_text())["clip"]["not_made"] == "it was left out (--no-clip)"
    monkeypatch.setattr(clip, "LEAST_MOTION", 2.0)
    with pytest.raises(SystemExit):
        main([*given, "--clip"])
    assert (
        "the clip stands still: a pixel changes by" in json.loads(report.read_text())["failed"][0]
    )
    assert (tmp_path / "clip.mp4").is_file()


def test_frames_that_no_trained_model_makes_are_told() -> None:
    moving = torch.rand(1, 5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    seen = clip.FrameNumbers()
    for part in moving.split(2, 1):
        seen.add(part)
    seen.check()
    told = seen.told()
    assert seen.frames == 5
    assert told["mean"] == pytest.approx(float(moving.mean()), abs=1e-5)
    assert told["motion"] == pytest.approx(float(moving.diff(dim=1).abs().mean()), abs=1e-5)
    broken = moving.clone()
    broken[0, 3, 0, 0, 0] = float("nan")
    for video, message in (
        (broken, "NaN or infinite numbers in 5 frames"),
        (moving.mean((2, 3, 4), keepdim=True).expand_as(moving), "of one colour"),
        (moving[:, :1].expand_as(moving), "stands still"),
    ):
        seen = clip.FrameNumbers()
        seen.add(video)
        with pytest.raises(ValueError, match=message):
            seen.check()


@pytest.mark.whole
def test_an_image_to_video_base_is_verified_with_its_image_encoder(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the authors' own download of CLIP; its clip begins with a drawn picture."""
    monkeypatch.chdir(tmp_path)
    Path("weights").symlink_to(place / "weights")
    folder = Path("weights/Wan2.1-I2V-14B-480P")
    if not folder.exists():
        published.image_to_video(folder)
    main(["status", "wan_i2v"])
    assert "network, codec, text, image_encoder  -" in capsys.readouterr().out
    report = tmp_path / "verify.json"
    parts = [f"{part}.folder=weights/{published.BASE}" for part in ("codec", "text")]
    given = ["verify", "wan_i2v", *published.REDUCED, "model.image_dim=160", *parts]
    given += ["rollout.num_steps=2", "--report", str(report), *UNTRAINED]
    main([*given, "--clip"])
    found = json.loads(report.read_text())
    assert found["ok"]
    assert found["image_encoder"]["alike"] > found["image_encoder"]["other"]
    assert found["image_encoder"]["numbers"] == 160
    assert any("models_clip" in one["path"] for one in found["files"])
    assert found["clip"]["numbers"]["motion"] > clip.LEAST_MOTION
    assert "image_encoder:" in capsys.readouterr().out
    settings = settings_of("wan_i2v", given[2:-3])
    settings["model"]["image_dim"] = 1280
    with pytest.raises(ValueError, match="states of 160 numbers and the network takes 1280"):
        answers.picture_answer(settings)
    settings["model"]["image_dim"] = 160
    monkeypatch.setattr(answers, "_SIDE", 1000)  # the other picture is then of one colour
    monkeypatch.setattr(answers, "moving_picture", lambda _: 2 * chessboards())
    with pytest.raises(ValueError, match="its weights are wrong"):
        answers.picture_answer(settings)


def chessboards() -> torch.Tensor:
    """A video whose first picture is black, like the pattern that is compared, and then white."""
    return torch.stack((torch.zeros(3, 256, 256), torch.ones(3, 256, 256)))[None]
