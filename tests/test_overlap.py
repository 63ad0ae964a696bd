"""Work of threads and streams: in order, bounded, and with errors that reach who gave it."""

import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cf.generation.clock import GenerationClock, Timing
from cf.generation.files import VideoFiles
from cf.generation.streams import Decoding, arrival
from cf.system.background import Background
from cf.video.reader import read_video
from cf.video.writer import VideoWriter


def _wait(gate: threading.Event) -> None:
    gate.wait(10)


def test_tasks_are_done_in_order_and_few_wait() -> None:
    done: list[int] = []
    gate, started, third = threading.Event(), threading.Event(), threading.Event()
    work = Background(waiting=1)

    def first() -> None:
        started.set()
        gate.wait(10)
        done.append(0)

    work.do(first)
    assert started.wait(10)
    work.do(lambda: done.append(1))

    def give() -> None:
        work.do(lambda: done.append(2))
        third.set()

    giver = threading.Thread(target=give)
    giver.start()
    assert not third.wait(0.05)  # one is at work, one waits, and the next one's giver too
    gate.set()
    giver.join(10)
    work.wait()
    assert done == [0, 1, 2]
    work.end()
    work.end()


def test_an_error_is_raised_to_the_giver_and_nothing_is_done_after_it() -> None:
    done: list[int] = []

    def fail() -> None:
        raise OSError("no space")

    work = Background()
    work.do(fail)
    with pytest.raises(OSError, match="no space"):
        work.wait()
    with pytest.raises(OSError, match="no space"):
        work.do(lambda: done.append(1))
    with pytest.raises(OSError, match="no space"):
        work.end()
    assert done == []


def test_what_waits_is_dropped_where_there_is_an_error_already() -> None:
    gate, done = threading.Event(), list[int]()
    work = Background()
    work.do(lambda: _wait(gate))
    work.do(lambda: done.append(1))
    threading.Timer(0.05, gate.set).start()
    work.end(finish=False)
    assert done == []


def _interrupt(*_: object) -> None:
    raise InterruptedError("asked to end")


@pytest.mark.parametrize("finish", [True, False])
@pytest.mark.parametrize("behind", [0, 2])
def test_nothing_is_at_work_after_a_wait_that_a_signal_cut_short(finish: bool, behind: int) -> None:
    """Otherwise a writer is closed while the thread encodes into it: a segmentation fault."""
    gate, done = threading.Event(), list[int]()
    work = Background()

    def slow() -> None:
        gate.wait(10)
        done.append(0)

    work.do(slow)
    for _ in range(behind):
        work.do(lambda: done.append(1))
    before = signal.signal(signal.SIGALRM, _interrupt)
    threading.Timer(0.3, gate.set).start()
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(InterruptedError, match="asked to end"):
            work.end(finish)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert done == [0, *[1] * behind] if finish else done == [0]


@pytest.mark.parametrize("where", ["add", "end"])
def test_a_writer_that_fails_ends_the_batch(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves a file that can be played as far as it was made."""
    kept, calls, failing = VideoWriter.write, [0], 3 if where == "add" else 12

    def write(self: VideoWriter, frames: Tensor) -> None:
        calls[0] += 1
        if calls[0] == failing:
            raise OSError("the disk is gone")
        kept(self, frames)

    monkeypatch.setattr(VideoWriter, "write", write)
    path, given = tmp_path / "a.mp4", list[int]()

    def fill() -> None:
        with VideoFiles([path], 8.0, (16, 16), 100, 0) as files:
            for _ in range(12):
                given.append(files.add(torch.rand(1, 2, 3, 16, 16)))

    with pytest.raises(OSError, match="the disk is gone"):
        fill()
    assert where == "add" or len(given) == 12
    assert len(read_video(path)) == 2 * (failing - 1)
    assert threading.active_count() < 20


def test_a_frame_that_is_no_number_is_refused_where_it_is_written(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="not finite"),
        VideoFiles([tmp_path / "a.mp4"], 8.0, (16, 16), 10, 0) as files,
    ):
        files.add(torch.full((1, 2, 3, 16, 16), torch.nan))


class Event:
    """A stand-in for a device's: everything is over at once."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.recorded = 0

    def record(self) -> None:
        self.recorded += 1

    def query(self) -> bool:
        return self.recorded == 1

    def elapsed_time(self, other: Any) -> float:
        return 250.0

    def synchronize(self) -> None: ...


class Stream(Event):
    def wait_stream(self, other: Any) -> None:
        log.append("wait")


log: list[str] = []


@contextmanager
def entered(stream: Any) -> Any:
    log.append("in")
    yield
    log.append("out")


class OnGpu:
    """Latents as a GPU's, as far as a stream asks."""

    device = torch.device("cuda")

    def record_stream(self, stream: Any) -> None:
        log.append("record")


def test_a_gpu_decodes_on_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins when the latents are there, and their memory is not taken before it is done."""
    log.clear()
    for name, made in (("Stream", lambda *_: Stream()), ("stream", entered), ("Event", Event)):
        monkeypatch.setattr(torch.cuda, name, made)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: log.append("synchronize"))
    latents: Any = OnGpu()
    decoding, clock = Decoding(latents.device, overlap=True), GenerationClock(latents.device)
    for _ in range(3):
        with decoding.of(latents), clock.part("decode"):
            log.append("decode")
        clock.made(4)
    assert log[:6] == ["wait", "record", "in", "decode", "out", "synchronize"]
    assert log.count("synchronize") == 1  # for the first frame alone
    assert clock.timing.decode_seconds == pytest.approx(0.75)
    assert "decode" in clock.timing.shown()
    log.clear()
    with Decoding(latents.device, overlap=False).of(latents):
        assert log == []


def test_frames_arrive_as_bytes() -> None:
    frames = torch.tensor([-1.0, 0.5, 2.0]).expand(1, 1, 3, 1, 3)
    assert arrival(frames)()[0, 0, 0, 0].tolist() == [0, 128, 255]


def test_rates_that_are_not_known_yet_are_not_shown() -> None:
    assert Timing(frames=3, seconds=1.0).shown() == "first after 0.00 s"
    quick = Timing(frames=32, denoise_seconds=2.0, decode_seconds=0.001)
    assert quick.shown().endswith("denoise 16 frames/s, decode 32,000 frames/s")


def test_a_sheet_shows_the_last_frames_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may wait to be written when all are made; a short video has no others."""
    write, seen = VideoWriter.write, list[int]()

    def late(self: VideoWriter, frames: Tensor) -> None:
        time.sleep(0.2)
        write(self, frames)

    monkeypatch.setattr(VideoWriter, "write", late)
    monkeypatch.setattr(
        "cf.generation.files.contact_sheet", lambda video, *_, **__: seen.append(len(video))
    )
    for blocks in (1, 3):
        with VideoFiles([tmp_path / "a.mp4"], 8.0, (16, 16), 2 * blocks, 0) as files:
            for _ in range(blocks):
                files.add(torch.rand(1, 2, 3, 16, 16))
            files.write_sheets()
    assert seen == [2, 6]
