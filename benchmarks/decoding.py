"""Time of decoding whole clips, as ratios to what others take for the same.

    python benchmarks/decoding.py FOLDER [--rounds 7] [--frames 96]

Every reader makes the same tensor: bytes, [frames, 3, height, width], red first, on one thread, of
square pixels: where a video's are not, the others scale as well, each with what it has. Readers
take turns, and the ratio is the median over the rounds. PyAV and OpenCV are always there; decord
and torchcodec take part where they are installed (`pip install decord torchcodec`). `cf` reads the
pictures at their times, turned upright, in the right colours; the others take frames as they come.
OpenCV reads the first video stream, and has no ratio ("-") where the others read a better one.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"

import av
import numpy as np
import torch
from av.container import InputContainer

from cf.system.opencv import cv2
from cf.video.listing import listed_in
from cf.video.reader import read_frames
from cf.video.timeline import timeline

Size = tuple[int, int] | None
"""Height and width to scale to; None: as the file has it."""
Reader = Callable[[Path, int, Size], torch.Tensor]


def best_of(container: InputContainer) -> int:
    """Which of the video streams is read."""
    streams = container.streams
    return [one.index for one in streams.video].index(streams.best("video").index)  # type: ignore[union-attr]


def square_pixels(path: Path) -> Size:
    """The size of a picture whose own pixels are not square."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        aspect = stream.sample_aspect_ratio  # type: ignore[union-attr]
    return timeline(path).size if aspect and aspect != 1 else None


def with_cf(path: Path, frames: int, _: Size) -> torch.Tensor:
    """As training reads it."""
    line = timeline(path)
    return read_frames(path, 0.0, min(frames, line.pictures(line.fps)), line.fps)


def with_pyav(path: Path, frames: int, size: Size) -> torch.Tensor:
    """A plain loop over PyAV."""
    height, width = size or (None, None)
    with av.open(str(path)) as container:
        stream = container.streams.video[best_of(container)]
        stream.thread_type = "NONE"
        found = [
            frame.to_ndarray(format="rgb24", width=width, height=height)
            for _, frame in zip(range(frames), container.decode(stream), strict=False)
        ]
    return torch.from_numpy(np.stack(found).transpose(0, 3, 1, 2).copy())


def with_opencv(path: Path, frames: int, size: Size) -> torch.Tensor:
    """A plain loop over OpenCV."""
    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    found = []
    while len(found) < frames and (read := capture.read())[0]:
        picture = read[1]
        if size:
            picture = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_CUBIC)
        found.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    capture.release()
    return torch.from_numpy(np.stack(found).transpose(0, 3, 1, 2).copy())


def with_decord(path: Path, frames: int, size: Size) -> torch.Tensor:
    """All frames at once."""
    from decord import VideoReader

    height, width = size or (-1, -1)
    reader = VideoReader(str(path), num_threads=1, width=width, height=height)
    found = reader.get_batch(range(min(frames, len(reader)))).asnumpy()
    return torch.from_numpy(found.transpose(0, 3, 1, 2).copy())


def with_torchcodec(path: Path, frames: int, size: Size) -> torch.Tensor:
    """All frames at once."""
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    scaled = [Resize(size)] if size else None
    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, transforms=scaled)
    found: torch.Tensor = decoder.get_frames_in_range(0, min(frames, len(decoder))).data
    return found.contiguous()


READERS: dict[str, Reader] = {"cf": with_cf, "pyav": with_pyav, "opencv": with_opencv}
OPTIONAL: dict[str, Reader] = {"decord": with_decord, "torchcodec": with_torchcodec}


def seconds(reader: Reader, path: Path, frames: int, size: Size) -> float:
    """CPU-seconds of one reading."""
    began = time.process_time()
    reader(path, frames, size)
    return time.process_time() - began


def ratios(
    path: Path, readers: dict[str, Reader], frames: int, rounds: int
) -> dict[str, float | None]:
    """Of `cf` to each of the others and to the fastest; None of one that read another stream."""
    with av.open(str(path)) as container:
        alike = [name for name in readers if name != "opencv" or not best_of(container)]
    size = square_pixels(path)
    taken: dict[str, list[float]] = {name: [] for name in alike}
    for turn in range(rounds + 1):
        for name in alike:
            found = seconds(readers[name], path, frames, size)
            if turn:  # the first warms up
                taken[name].append(found)
    mine = taken.pop("cf")
    taken["fastest"] = [min(one) for one in zip(*taken.values(), strict=True)]
    shares = {
        name: median(a / b for a, b in zip(mine, other, strict=True))
        for name, other in taken.items()
    }
    return {name: shares.get(name) for name in [*readers, "fastest"] if name != "cf"}


def main() -> None:
    """Print a line for each video."""
    kind = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=96)
    given = parser.parse_args()
    readers = READERS | {name: one for name, one in OPTIONAL.items() if find_spec(name)}
    heads = [f"cf/{name}" for name in [*readers, "fastest"] if name != "cf"]
    sys.stdout.write("  ".join(["video", *heads]) + "\n")
    for path in listed_in(given.folder).videos:
        found = ratios(path, readers, given.frames, given.rounds).values()
        shown = ["-" if ratio is None else f"{ratio:.2f}" for ratio in found]
        sys.stdout.write("  ".join([path.name, *shown]) + "\n")


if __name__ == "__main__":
    main()
