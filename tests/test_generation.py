"""Generation as people use it: stopped and gone on with, many at once, typed, and told."""

import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import give
from hydra import compose, initialize_config_dir
from PIL import Image
from tiny import MEMORIES, conditioning, draw, latents, memory, model
from torch import Tensor

from cf.files.pickled import load_tensors
from cf.generate import generate
from cf.generation import unfinished
from cf.generation.requests import requests_of
from cf.generation.unfinished import Unfinished
from cf.memory.pinned import Pinned
from cf.models.checkpoints import save_export
from cf.models.codec import Codec, DecoderStream, EncoderStream, PixelCodec
from cf.paths import CONFIG_DIR
from cf.rollout import Recache, Rolling, Rollout
from cf.rollout.state import plain, rebuilt
from cf.runs.generator import Generator
from cf.settings.build import Settings, to_settings
from cf.system.signals import Stopped
from cf.video.reader import read_video
from cf.video.writer import VideoWriter

RATE = 8.0


class Spelled:
    """A text encoder whose states are the letters."""

    dim = 5

    def encode(self, prompts: list[str]) -> Tensor:
        codes = [[ord(letter) % 7 - 3.0 for letter in prompt[:4].ljust(4)] for prompt in prompts]
        return torch.tensor(codes).double()[..., None].expand(-1, -1, 5)


class Fading(Codec):
    """Pixels that hold a third of the frame before: a decoder with something to carry."""

    channels, time_stride, space_stride = 3, 1, 1

    def encoder(self) -> EncoderStream:
        return PixelCodec().encoder()

    def decoder(self) -> DecoderStream:
        def decode(frames: Tensor, held: list[Any]) -> Tensor:
            made = []
            for frame in PixelCodec().decode(frames).unbind(1):
                held[:] = [frame if not held else (2 * frame + held[0]) / 3]
                made.append(held[0])
            return torch.stack(made, 1)

        return DecoderStream(decode)


def made_of(pinned: int = 0) -> Generator:
    network, policy = model(control_dim=None, latent_shape=(3, 4, 4)), memory("sliding")
    rollout = Rollout(Pinned(policy, pinned) if pinned else policy, num_steps=2)
    parts = (network, Fading(), Spelled(), rollout, Recache())
    return Generator(*parts, RATE, (4, 4))  # type: ignore[arg-type]


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Settings, Path]]:
    """Settings as they are typed, of a generator in this process."""
    monkeypatch.setattr("cf.runs.generator.load", lambda given: made_of(len(given["pinned"])))
    weights = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(1)}, weights)

    def told(*typed: str, folder: str = "out") -> tuple[Settings, Path]:
        given = (f"checkpoint={weights}", "seconds=8", *typed)
        with initialize_config_dir(version_base="1.3", config_dir=CONFIG_DIR):
            return to_settings(compose("generate", [*given])), tmp_path / folder

    return told


def dying(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Every writer fails as a killed process does: nothing is closed."""
    kept, count = VideoWriter.write, [0]

    def write(self: VideoWriter, frames: Tensor) -> None:
        count[0] += 1
        if count[0] > after:
            raise KeyboardInterrupt
        kept(self, frames)

    monkeypatch.setattr(VideoWriter, "write", write)
    closed = VideoWriter.__exit__
    monkeypatch.setattr(
        VideoWriter, "__exit__", lambda self, kind, *_: kind or closed(self, None, None, None)
    )


def files(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.suffix != ".json"}


# States


@pytest.mark.parametrize(
    ("name", "kind"), [*((one.stem, Rollout) for one in MEMORIES), ("sliding", Rolling)]
)
def test_a_saved_state_goes_on_to_the_same_bits(
    name: str, kind: type[Rollout], tmp_path: Path
) -> None:
    network, rollout = model(torch.float32), kind(memory(name), num_steps=2)
    eps, cond = rollout.noise(network, 0, (0, 1)), conditioning(2, 60, dtype=torch.float32)
    with torch.inference_mode():
        seen = latents(2, 3, dtype=torch.float32)
        state = rollout.remember(network, seen, eps, cond)
        running = rollout.stream(network, eps, cond, state)
        for _ in range(4):
            _, state = next(running)
        torch.save(plain(state), tmp_path / "state.pt")
        expected = [next(running)[0].clone() for _ in range(2)]
        again = rebuilt(load_tensors(tmp_path / "state.pt"), torch.device("cpu"))
        resumed = rollout.stream(network, eps, cond, again)
        for one in expected:
            assert torch.equal(next(resumed)[0], one)


def test_what_a_state_may_not_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="holds a set"):
        plain((torch.zeros(1), {1}))


# Files


@pytest.mark.parametrize("cut", [1, 16, 17, 40])
@pytest.mark.parametrize("closed", [False, True])
def test_a_writer_goes_on_to_the_same_file(cut: int, closed: bool, tmp_path: Path) -> None:
    frames = (draw(48, 3, 6, 9) / 6 + 0.5).clamp(0, 1).float()
    whole, broken = tmp_path / "whole.mp4", tmp_path / "broken.mp4"
    with VideoWriter(whole, RATE, (6, 9), part_seconds=2) as writer:
        writer.write(frames)
    lost = VideoWriter(broken, RATE, (6, 9), part_seconds=2)
    lost.write(frames[:cut])
    begun = lost.written()
    assert len(begun.pending) <= 16
    lost.write(frames[cut : cut + 5])
    if closed:
        lost.close()
    assert len(read_video(broken)) >= begun.frames
    with VideoWriter(broken, RATE, (6, 9), part_seconds=2, begun=begun) as writer:
        writer.write(frames[cut:])
    assert broken.read_bytes() == whole.read_bytes()


def test_a_file_that_was_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    writer = VideoWriter(path, RATE, (6, 9), part_seconds=1)
    writer.write(torch.zeros(20, 3, 6, 9))
    begun = writer.written()
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="holds 0 frames, and 16 had been made"):
        VideoWriter(path, RATE, (6, 9), part_seconds=1, begun=begun)
    assert path.read_bytes() == b""


# The command


@pytest.mark.whole
@pytest.mark.parametrize(
    "typed",
    [
        ("prompt=a fox",),
        ("prompts=[[0,a fox],[4,a cat]]", "samples=2"),
        ("prompts=[[0,a fox],[4,a cat]]", "image=IMAGE", "pinned=[[0,IMAGE],[3,IMAGE]]"),
    ],
)
def test_killed_and_gone_on_with_is_uninterrupted(
    typed: tuple[str, ...],
    tell: Callable[..., tuple[Settings, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every file, byte for byte, wherever it was killed; the state is bounded."""
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    typed = tuple(one.replace("IMAGE", str(tmp_path / "a.png")) for one in typed)
    settings, folder = tell(*typed, folder="whole")
    generate(settings, folder)
    given = int(len(typed) == 3)
    assert len(read_video(folder / "video_0.mp4")) == 64 + given
    settings, broken = tell(*typed, "save_every=1e-9")
    monkeypatch.setattr(unfinished, "_MOST_SHARE", 1e9)
    sizes = []
    for after in (5, 8, 6):  # blocks of three frames, of each sample
        with monkeypatch.context() as patch:
            dying(patch, after)
            with pytest.raises(KeyboardInterrupt):
                generate(settings, broken)
        assert len(read_video(broken / "video_0.mp4")) > 0
        sizes.append((broken / "unfinished.pt").stat().st_size)
    assert sizes[2] < 1.5 * sizes[1]
    generate(settings, broken)
    assert files(broken) == files(folder)
    told = [json.loads((one / "generate.json").read_text()) for one in (folder, broken)]
    assert told[0]["videos"].keys() == told[1]["videos"].keys()
    assert told[1]["videos"]["video_0"]["timing"]["frames"] == 64 * len(told[1]["videos"])


def test_who_is_asked_to_end_saves_first(
    tell: Callable[..., tuple[Settings, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, count = VideoWriter.write, [0]

    def write(self: VideoWriter, frames: Tensor) -> None:
        kept(self, frames)
        count[0] += 1
        if count[0] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(VideoWriter, "write", write)
    settings, folder = tell("prompt=fox")
    with pytest.raises(Stopped):
        generate(settings, folder)
    done = load_tensors(folder / "unfinished.pt")["files"]["done"]
    assert done in (12, 15, 18, 21)  # the writer may be two blocks behind
    assert len(read_video(folder / "video_0.mp4")) == done
    generate(settings, folder)
    assert count[0] == 22
    assert len(read_video(folder / "video_0.mp4")) == 64


@pytest.mark.whole
def test_a_batch_gives_each_video_what_it_gets_alone(
    tell: Callable[..., tuple[Settings, Path]], tmp_path: Path
) -> None:
    """Each prompt of a list, whatever is made with it, is the video of that prompt alone."""
    (tmp_path / "list.jsonl").write_text(
        '{"prompt_id": "fox", "text": "a fox"}\n{"prompt_id": "two", "segments": [[0, "x"], '
        '[1, "y"]]}\n{"text": "a cat"}\n{"prompt_id": "hen", "text": "a hen"}\n'
    )
    listed = f"prompts_file={tmp_path / 'list.jsonl'}"
    for batch in (1, 3):
        generate(*tell("seconds=2", listed, f"batch={batch}", folder=f"batch{batch}"))
    generate(*tell("seconds=2", "prompt=a cat", folder="alone"))
    names = {f"{name}.{kind}" for name in ("fox", "two", "a-cat", "hen") for kind in ("mp4", "png")}
    assert files(tmp_path / "batch1").keys() == names
    assert files(tmp_path / "batch1") == files(tmp_path / "batch3")
    alone = files(tmp_path / "alone")["video_0.mp4"]
    assert files(tmp_path / "batch3")["a-cat.mp4"] == alone != files(tmp_path / "batch3")["hen.mp4"]


def test_what_is_whole_is_kept_and_what_changed_is_told(
    tell: Callable[..., tuple[Settings, Path]], tmp_path: Path
) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("prompt_id,prompt\nfox,a fox\n")
    typed = ("seconds=1", f"prompts_file={listed}")
    settings, folder = tell(*typed)
    generate(settings, folder)
    before = (folder / "fox.mp4").stat().st_mtime_ns
    listed.write_text("prompt_id,prompt\nfox,a fox\ncat,a cat\n")
    generate(settings, folder)
    assert (folder / "fox.mp4").stat().st_mtime_ns == before
    assert (folder / "cat.mp4").is_file()
    (folder / "cat.mp4").unlink()
    generate(settings, folder)
    assert (folder / "cat.mp4").is_file()
    listed.write_text("prompt_id,prompt\nfox,a hen\n")
    with pytest.raises(ValueError, match=r"line 2: fox.mp4 was made of 'a fox', and is now .*hen"):
        generate(settings, folder)
    with pytest.raises(ValueError, match=r"made with seconds=1 and now 2; give the same"):
        generate(*tell("seconds=2", f"prompts_file={listed}"))
    torch.save({"a": torch.ones(1)}, settings["checkpoint"])
    with pytest.raises(ValueError, match="other weights, though checkpoint= is the same"):
        generate(settings, folder)
    assert (folder / "fox.mp4").stat().st_mtime_ns == before


def test_lines_that_are_typed_become_the_text_and_are_recorded(
    tell: Callable[..., tuple[Settings, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pipe; each line holds from the next block on, and the record makes the same video."""
    monkeypatch.setattr("sys.stdin", io.StringIO("a fox\n\na cat\nit jumps\n"))
    monkeypatch.setattr("sys.argv", ["cf.generate", "seconds=2", "prompts=-", "hydra.run.dir=x"])
    generate(*tell("seconds=2", "prompts=-"))
    told = json.loads((tmp_path / "out" / "generate.json").read_text())
    script = told["videos"]["video_0"]["script"]
    assert [text for _, text in script] == ["a fox", "a cat", "it jumps"]
    assert [round(at * RATE) for at, _ in script] == [0, 3, 6]
    assert "prompts=-" not in told["command"]
    assert "hydra.run.dir" not in told["command"]
    assert json.dumps(script) in told["command"]
    generate(*tell("seconds=2", f"prompts={json.dumps(script)}", folder="again"))
    videos = [(tmp_path / one / "video_0.mp4").read_bytes() for one in ("out", "again")]
    assert videos[0] == videos[1]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(ValueError, match="no text came on standard input"):
        generate(*tell("seconds=2", "prompts=-", folder="none"))


def test_how_fast_it_is_is_told_and_recorded(
    tell: Callable[..., tuple[Settings, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    generate(*tell("seconds=2", "prompt=fox"))
    shown = capsys.readouterr().err
    assert "frames/s" in shown
    assert "denoise" in shown
    assert "decode" in shown
    record = json.loads((tmp_path / "out" / "generate.json").read_text())
    timing = record["videos"]["video_0"]["timing"]
    assert timing["frames"] == 16
    assert 0 < timing["first_frame_seconds"] <= timing["seconds"]
    parts = sum(timing[f"{one}_seconds"] for one in ("denoise", "decode"))
    assert 0 < parts <= timing["seconds"]
    assert 0 < timing["write_seconds"] <= timing["seconds"]  # meanwhile
    assert timing["denoise_fps"] == pytest.approx(16 / timing["denoise_seconds"], rel=0.02)
    assert {"weights_sha256", "command", "versions", "settings"} <= record.keys()


def test_key_frames_are_read_from_their_second_on(
    tell: Callable[..., tuple[Settings, Path]], tmp_path: Path
) -> None:
    videos = {}
    for name in ("red", "blue"):
        Image.new("RGB", (4, 4), name).save(tmp_path / f"{name}.png")
        pinned = f"pinned=[[1.5,{tmp_path / name}.png]]"
        generate(*tell("seconds=3", "prompt=fox", pinned, folder=name))
        videos[name] = read_video(tmp_path / name / "video_0.mp4")
    assert torch.equal(videos["red"][:12], videos["blue"][:12])  # blocks before frame 12
    assert not torch.equal(videos["red"][12:15], videos["blue"][12:15])


def test_names_that_two_videos_would_share_are_refused(
    tell: Callable[..., tuple[Settings, Path]], tmp_path: Path
) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("prompt_id,prompt\na-1,one\na,two\n")
    settings, _ = tell(f"prompts_file={listed}", "samples=2")
    assert [one.name for one in requests_of(settings)] == ["a-1-0", "a-1-1", "a-0", "a-1"]
    listed.write_text("prompt_id,prompt\na-1-0,one\na-1,two\na,three\n")
    settings["samples"] = 1
    assert len(requests_of(settings)) == 3
    listed.write_text("prompt_id,prompt\na-1-0,one\na-1,two\na-1-0-0,three\n")
    settings["samples"] = 2
    assert len(requests_of(settings)) == 6


def test_a_state_that_a_kill_left_beside_finished_videos_is_tidied(
    tell: Callable[..., tuple[Settings, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last record and the end; the state of a video that nobody asks for stays."""
    settings, folder = tell("prompt=fox", "seconds=2", "save_every=1e-9")
    monkeypatch.setattr(unfinished, "_MOST_SHARE", 1e9)
    with monkeypatch.context() as patch:
        patch.setattr(Unfinished, "forget", lambda _: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Stopped):
            generate(settings, folder)
    state = folder / "unfinished.pt"
    other = load_tensors(state) | {"videos": {"video_9": {}}}
    generate(settings, folder)
    assert not state.exists()
    torch.save(other, state)
    generate(settings, folder)
    assert state.exists()


def test_a_damaged_state_is_named_with_the_remedy(
    tell: Callable[..., tuple[Settings, Path]],
) -> None:
    settings, folder = tell("seconds=1")
    folder.mkdir()
    (folder / "unfinished.pt").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"unfinished.pt is damaged.*remove it"):
        generate(settings, folder)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("prompts=-", "prompts_file=list.txt"), "prompts=- or prompts_file=..., not both"),
        (("prompt=a", "prompts_file=list.txt"), "give prompt=... or prompts_file=..., not both"),
        (("prompts_file=none.txt",), "there is no file none.txt"),
        (("batch=0",), "batch must be a whole number from 1"),
        (("save_every=0",), "save_every must be"),
        (("prompts=fox",), "prompts must be [[seconds,text]"),
        (("pinned=[[0,none.png]]",), "pinned: there is no image none.png"),
        (("pinned=[[0]]",), "pinned=[[0]] cannot be read; write"),
        (("pinned=[a.png]",), "pinned must be [[seconds,image], ...]"),
        (("pinned=[[1,list.txt],[1,list.txt]]",), "pinned must be at rising seconds, got [1, 1]"),
        (("pinned=[[0,list.txt]]",), "list.txt"),
        (("pinned=[[99,list.txt]]",), "belongs to 99 s, and the video ends after seconds=20"),
        (("prompts=-",), "this model is not conditioned on text"),
    ],
)
def test_mistakes_of_the_command_line(
    typed: tuple[str, ...],
    told: str,
    refused: Callable[..., str],
    tmp_path: Path,
    network: Path,
) -> None:
    (tmp_path / "list.txt").write_text("a fox\n")
    assert told in refused("cf.generate", f"checkpoint={network}", "hydra.run.dir=out", *typed)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network as a run would export it."""
    path = tmp_path_factory.mktemp("network") / "net.safetensors"
    sizes: dict[str, Any] = {"dim": 12, "num_heads": 2, "num_layers": 1, "ffn_dim": 12}
    sizes |= {"latent_shape": [3, 8, 8], "patch_size": [4, 4]}
    rollout = {"_target_": "cf.rollout.Rollout", "num_steps": 1}
    rollout["memory"] = {"_target_": "cf.memory.Sliding", "sink_frames": 1, "window_frames": 6}
    config = {
        "model": {"_target_": "cf.models.transformer.VideoTransformer", **sizes},
        "codec": {"_target_": "cf.models.codec.PixelCodec"},
        "text": {"_target_": "cf.models.text.NoText"},
        "rollout": rollout,
        "fps": 8,
        "size": [8, 8],
    }
    from cf.models.transformer import VideoTransformer

    save_export(path, VideoTransformer(**sizes).state_dict(), config)
    return path


@pytest.mark.whole
def test_the_same_command_in_the_same_folder_goes_on(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is typed, with a network from a file, and killed once."""
    monkeypatch.chdir(tmp_path)
    typed = (f"checkpoint={network}", "seconds=3", "samples=2", "batch=1")
    give("cf.generate", *typed, "hydra.run.dir=whole")
    with monkeypatch.context() as patch:
        dying(patch, 10)  # in the second video
        with pytest.raises(SystemExit):
            give("cf.generate", *typed, "hydra.run.dir=broken")
    assert not (tmp_path / "broken" / "video_1.png").exists()
    give("cf.generate", *typed, "hydra.run.dir=broken")
    for name in ("video_0.mp4", "video_0.png", "video_1.mp4", "video_1.png"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
