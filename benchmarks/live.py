"""How soon a key is answered by a picture in cf.play, and how many frames a second are shown.

    python benchmarks/live.py                       the student of the package, one memory
    python benchmarks/live.py against=window        two memories from one noise

Settings are those of cf.play. A server is started; a client shows frames as the page does: each
when it is due, and at once where a key was heard in what waits behind it. It taps a key at times
that do not keep step with frames. What a browser adds to decode and draw, a few milliseconds of a
small picture, is left out.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from random import Random

from websockets.sync.client import ClientConnection, connect

SECONDS = 40.0
KEYS = ("ahead", "left", "right")
_EVERY = (0.7, 1.3)
"""Seconds between two taps."""


@dataclass
class Client:
    """What the page does with frames.

    Attributes:
        waiting: frames to be shown: number, the last key heard, whether a block begins with it.
        shown: seconds at which frames were shown.
        taps: how many keys were tapped.
        tapped: when, by number of those that no picture has answered yet.
        answers: seconds from each key to its picture.
        blocks: milliseconds in which each block was made.
    """

    line: ClientConnection
    fps: float
    waiting: deque[tuple[int, int, bool]] = field(default_factory=deque)
    taps: int = 0
    tapped: dict[int, float] = field(default_factory=dict)
    heard: int = 0
    shown: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    blocks: list[float] = field(default_factory=list)

    def tell(self, what: str, **values: object) -> None:
        """Say something to the server."""
        self.line.send(json.dumps({"do": what, **values}))

    def receive(self, seconds: float) -> None:
        """Wait so long, at most, for a message."""
        try:
            data = self.line.recv(timeout=max(seconds, 0.0))
        except TimeoutError:
            return
        if isinstance(data, str):
            return
        head = json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])
        for i in range(head["count"]):
            self.waiting.append((head["first"] + i, head.get("heard", 0), i == 0))
        if "milliseconds" in head:
            self.blocks.append(head["milliseconds"])

    def show(self) -> None:
        """The frames that are due."""
        while self.waiting:
            answered = self.waiting[-1][1] > self.heard
            now = time.monotonic()
            if not answered and self.shown and now - self.shown[-1] < 1 / self.fps - 0.004:
                return
            frame, heard, begins = self.waiting.popleft()
            self.shown.append(now)
            if begins:
                self.tell("seen", frame=frame)
            if heard > self.heard:
                self.heard = heard
                for number in [one for one in self.tapped if one <= heard]:
                    self.answers.append(now - self.tapped.pop(number))

    def tap(self, key: str) -> None:
        """Press a key and let it go."""
        self.taps += 1
        self.tapped[2 * self.taps] = time.monotonic()
        self.tell("keys", held=[key], tapped=[key], at=2 * self.taps)
        self.tell("keys", held=[], tapped=[], at=2 * self.taps + 1)


def main() -> None:
    """Start a server, play, and say what was measured."""
    command = [sys.executable, "-m", "cf.play", "port=0", *sys.argv[1:]]
    piped = subprocess.PIPE
    with subprocess.Popen(command, stderr=subprocess.STDOUT, stdout=piped, text=True) as server:
        assert server.stdout is not None
        try:
            for line in server.stdout:
                if found := re.search(r"open http://([^/]+)/", line):
                    client = played(found[1])
                    break
            else:
                raise SystemExit("cf.play did not start; run it alone to see why")
        finally:
            server.terminate()
    kept = [one for one in client.shown if one > client.shown[0] + 5]  # the given frames are past
    rate = (len(kept) - 1) / (kept[-1] - kept[0])
    answers = sorted(client.answers)
    sys.stdout.write(
        f"{rate:.1f} frames/s shown; a block is made in {statistics.median(client.blocks):.0f} ms; "
        f"key to picture {1000 * statistics.median(answers):.0f} ms, of ten the slowest "
        f"{1000 * answers[int(0.9 * len(answers))]:.0f} ms ({len(answers)} keys)\n"
    )


def played(host: str) -> Client:
    """A session of `SECONDS`."""
    draw = Random(0)
    with connect(f"ws://{host}/socket", origin=f"http://{host}", max_size=None) as line:
        about = json.loads(line.recv())["about"]
        client = Client(line, about["fps"])
        wish = about["defaults"]
        client.tell("begin", **wish, picture=False)
        client.tell("run", on=True)
        began, due = time.monotonic(), time.monotonic() + 6
        while (now := time.monotonic()) < began + SECONDS:
            if now >= due:
                client.tap(draw.choice(KEYS))
                due = now + draw.uniform(*_EVERY)
            client.receive(0.004)
            client.show()
        return client


if __name__ == "__main__":
    main()
