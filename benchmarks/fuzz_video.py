"""Spoiled video files: each gives pictures or one `UnreadableVideo`, in bounded time and memory.

`python -m benchmarks.fuzz_video 600` spoils small files of every kind at random for ten minutes.
"""

import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from cf.video.probe import UnreadableVideo, probe
from cf.video.reader import read_chunks, read_frames
from cf.video.timeline import is_steady

KINDS = {
    "a.mp4": "libx264",
    "a.mkv": "libx264",
    "a.ts": "libx264",
    "a.flv": "libx264",
    "b.avi": "mpeg4",
    "b.mov": "mpeg4",
    "b.mpg": "mpeg2video",
    "c.webm": "libvpx",
    "d.gif": "gif",
    "e.wmv": "wmv2",
    "f.apng": "apng",
}
_OPTIONS = {name: {"g": "5", "bf": "1"} for name in ("libx264", "mpeg4", "mpeg2video")}
_MOST_PICTURES = 2000  # of a spoiled file, whose last picture may stand for days


def small(folder: Path, name: str) -> Path:
    """A file of twelve pictures."""
    path, codec = folder / name, KINDS[name]
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=_OPTIONS.get(codec, {}))
        stream.height, stream.width = 32, 32
        stream.pix_fmt = {"gif": "rgb8", "apng": "rgb24"}.get(codec, "yuv420p")
        stream.thread_count = 1
        for index in range(12):
            pixels = np.random.default_rng(index).integers(0, 255, (32, 32, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def spoiled(data: bytes, rng: random.Random) -> bytes:
    """Cut off, or with bytes changed, most often in the header, or with a part lost or doubled."""
    made = bytearray(data)
    reach = len(made) if rng.random() < 0.5 else min(len(made), 1200)
    offset = len(made) - reach if rng.random() < 0.3 else 0  # an index may lie at the end
    for _ in range(rng.choice((0, 1, 1, 2, 5, 20))):
        at = offset + rng.randrange(reach)
        size = rng.choice((1, 1, 2, 4))
        value = rng.choice((b"\x00", b"\xff", b"\x7f", b"\x80", rng.randbytes(1)))
        made[at : at + size] = value * len(made[at : at + size])
    if rng.random() < 0.3:
        del made[rng.randrange(1, len(made)) :]
    if rng.random() < 0.1:
        at = rng.randrange(len(made))
        made[at:at] = made[at : at + rng.randrange(1, 400)]
    return bytes(made)


def read(path: Path) -> str:
    """All that the project does with a file; "pictures", or "refused" with the known error."""
    try:
        info = probe(path)
        is_steady(path)
        count = 0
        for piece in read_chunks(path, 16, size=(16, 16)):
            count += len(piece)
            if count > _MOST_PICTURES:
                break
        last = max(info.pictures(8.0) - 1, 0)
        read_frames(path, last / 8 / 2, 1, 8.0, (16, 16))
    except UnreadableVideo:
        return "refused"
    return "pictures"


def rounds(folder: Path, seed: int) -> Iterator[tuple[str, str, float, bytes]]:
    """Kind, outcome, seconds and bytes of one spoiled file after another, without an end."""
    rng = random.Random(seed)
    whole = {name: small(folder, name).read_bytes() for name in KINDS}
    while True:
        name = rng.choice(sorted(whole))
        data = spoiled(whole[name], rng)
        path = folder / f"spoiled_{name}"
        path.write_bytes(data)
        began = time.perf_counter()
        try:
            outcome = read(path)
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        yield name, outcome, time.perf_counter() - began, data


def main(seconds: float, seed: int = 0, keep: Path | None = None) -> int:
    """Spoil files for so long; how many ended in another way than they may."""
    av.logging.set_level(None)
    outcomes, bad, slowest, began = Counter[str](), 0, 0.0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for name, outcome, took, data in rounds(Path(folder), seed):
            known = outcome in ("pictures", "refused") and took < 20
            outcomes[outcome if known else outcome[:60]] += 1
            slowest = max(slowest, took)
            if not known:
                bad += 1
                sys.stdout.write(f"{name} {took:.1f} s: {outcome}\n")
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{bad}_{name}").write_bytes(data)
            if time.monotonic() - began > seconds:
                break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    sys.stdout.write(f"{told}; slowest {slowest:.1f} s, peak {peak:.2f} GiB\n")
    return bad


if __name__ == "__main__":
    where = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, where) > 0)
