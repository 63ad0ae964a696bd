"""Readers of what users give, fed with broken files: a value or one ValueError, in bounded time.

python -m benchmarks.fuzz --minutes 10 --seed 0
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from cf.bench.contestants.imported import Imported
from cf.bench.tasks.prompts import Prompts
from cf.comparing.scores import read_scores
from cf.comparing.trainings import read_training
from cf.data.prompt_list import prompts_of
from cf.data.script import script_of
from cf.evaluation.videos import list_videos
from cf.files.text import read_json_file, yaml_of
from cf.models.weight_files import read_safetensors

_SLOWEST = 10.0  # seconds that one small file may take
_PIECES = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", b'"', b'""', b",", b";", b"\t", b"\n", b"\r\n"),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b":",
        b"- ",
        b"&a ",
        b"*a",
        b"!!int ",
        b"<<: ",
        b"%",
        b"#",
        b"'",
        b"|",
    ),
    *(b"null", b"NaN", b"-1", b"1e999", b"9" * 400, b"2024-99-99", b"0x", b"1:2:3", b"~", b"?"),
    *("\u202e\ud7ff\U0001f98a".encode(), "é".encode(), "e\u0301".encode(), b"=1+1", b"../../x"),
)
_TEXTS = {
    ".txt": b'a red fox\n#1 fan\n\nit\'s, "snow"\n',
    ".csv": b'path,prompt,seed,score\nlist.txt,"one, two",0,15\nlist.txt,three,0,2\n',
    ".jsonl": b'{"prompt_id": "a", "segments": [[0, "x"], [10, "y"]]}\n{"text": "b"}\n',
    ".json": b'[{"prompt_en": "a", "dimension": ["x"]}, "b", 42]',
    ".yaml": b"- a red fox\n- {prompt_id: b, text: 'c'}\n- segments: [[0, d], [1.5, e]]\n",
}


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A few pieces inserted, removed, doubled, or changed, and now and then another encoding."""
    for _ in range(chance.randrange(1, 6)):
        at, length = chance.randrange(len(data) + 1), chance.randrange(12)
        kind = chance.randrange(5)
        if kind == 0:
            data = data[:at] + chance.choice(_PIECES) * chance.choice((1, 1, 2, 50)) + data[at:]
        elif kind == 1:
            data = data[:at] + data[at + length :]
        elif kind == 2:
            data = data[:at] + data[at : at + length] * 3 + data[at + length :]
        elif kind == 3:
            data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        else:
            data = data[:at]
    if chance.random() < 0.1:
        encoding = chance.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32"))
        data = data.decode("utf-8", "replace").encode(encoding, "replace")
    return data


def _weights() -> bytes:
    header = {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(16)


def _script(data: bytes, path: Path) -> object:
    path.write_bytes(data)
    return script_of(read_json_file(path), "prompts")


def _file(suffix: str, reader: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def run(data: bytes, folder: Path) -> object:
        path = folder / f"given{suffix}"
        path.write_bytes(data)
        return reader(path)

    return run


def _imported(path: Path) -> object:
    items = Prompts(str(path.with_name("list.txt"))).items()
    return Imported(folder=str(path.parent), listed=str(path)).check(items, "theirs")


def _run(path: Path) -> object:
    path.rename(path.with_name("metrics.csv"))
    return read_training(path.parent)


def _config(path: Path) -> object:
    path.with_name("metrics.csv").write_text("step,loss\n1,2\n")
    path.rename(path.with_name("config.yaml"))
    return read_training(path.parent)


def targets() -> dict[str, tuple[bytes, Callable[[bytes, Path], object]]]:
    """What is fed, and to whom."""
    made = {f"prompts{end}": (text, _file(end, prompts_of)) for end, text in _TEXTS.items()}
    made["yaml"] = (_TEXTS[".yaml"], _file(".yaml", yaml_of))
    made["script"] = (b'[[0, "a"], [10, "b"]]', lambda d, f: _script(d, f / "s.json"))
    made["videos"] = (
        _TEXTS[".csv"].replace(b",score", b",boundaries"),
        _file(".csv", lambda p: list_videos(str(p))),
    )
    made["scores"] = (_TEXTS[".csv"], _file(".csv", read_scores))
    made["imported"] = (_TEXTS[".csv"], _file(".csv", _imported))
    made["metrics"] = (b"step,loss\n1,0.5\n2,0.25\n", _file(".csv", _run))
    made["config"] = (
        b"seed: 1\nfolder: /x\nmodel: {dim: 24, list: [1, 2]}\n",
        _file(".yaml", _config),
    )
    made["weights"] = (_weights(), _file(".safetensors", read_safetensors))
    return made


def fuzz(seconds: float, seed: int) -> tuple[Counter[str], list[str]]:
    """Feed all targets in turn for so long: how many were taken and refused, and what broke."""
    counts, broken, chance = Counter[str](), list[str](), random.Random(seed)
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for name, (data, run) in targets().items():
            number += 1
            given = mutated(data, chance)
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "list.txt").write_text("one, two\nthree\n")
                begun = time.monotonic()
                try:
                    run(given, Path(folder))
                    counts[f"{name} taken"] += 1
                except ValueError:
                    counts[f"{name} refused"] += 1
                except Exception as error:
                    broken.append(f"{name}: {type(error).__name__}: {error}: {given[:200]!r}")
                if time.monotonic() - begun > _SLOWEST:
                    broken.append(f"{name}: {time.monotonic() - begun:.0f} s: {given[:200]!r}")
    return counts, broken


def main() -> None:
    """Print the counts, and what broke; exit status 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    counts, broken = fuzz(60 * given.minutes, given.seed)
    for name, count in sorted(counts.items()):
        sys.stdout.write(f"{count:8d} {name}\n")
    sys.stdout.write(f"{counts.total():8d} in all, {len(broken)} broke\n")
    for one in broken[:20]:
        sys.stdout.write(f"{one}\n")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
