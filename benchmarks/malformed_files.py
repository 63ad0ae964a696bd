"""The damaged, foreign and misplaced files that `malformed.py` gives to every command."""

import os
import pickle
import struct
from pathlib import Path

_PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
_MP4 = struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 512, b"isom")
WEIGHTS: dict[str, bytes] = {
    "empty.safetensors": b"",
    "short.safetensors": b"\x10\0\0",
    "huge_header.safetensors": struct.pack("<Q", 2**60) + b"{}",
    "cut.safetensors": struct.pack("<Q", 90) + b'{"a":{"dtype":"F32","shape":[4]',
    "no_json.safetensors": struct.pack("<Q", 4) + b"abcd",
    "offsets.safetensors": struct.pack("<Q", 61)
    + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,99999999]}}',
    "page.safetensors": b"<!DOCTYPE html><html>404</html>",
    "pointer.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "model.gguf": b"GGUF\x03\0\0\0" + b"\0" * 64,
    "unfinished.safetensors": struct.pack("<Q", 2) + b"{}",
    "empty.pt": b"",
    "text.pt": b"a fox\n",
    "code.pt": pickle.dumps(os.getcwd),
    "zip.pt": b"PK\x03\x04" + b"\0" * 30,
    "index.json": b'{"weight_map": {"a": "gone-00001.safetensors"}}',
    "words.txt": b"a fox\n",
    "picture.png": _PNG,
}
VIDEOS: dict[str, bytes] = {
    "empty.mp4": b"",
    "text.mp4": b"a fox\n",
    "header_only.mp4": _MP4,
    "zeros.mkv": b"\0" * 4096,
    "page.webm": b"<!DOCTYPE html><html>404</html>",
    "picture.avi": _PNG,
    "zip.mov": b"PK\x03\x04" + b"\0" * 30,
}
LISTS: dict[str, bytes] = {
    "no_path.csv": b"file,prompt\na.mp4,fox\n",
    "no_heading.csv": b"a fox\na hen\n",
    "empty_list.csv": b"",
    "head_only.csv": b"path\n",
    "binary.csv": bytes(range(256)) * 8,
    "seed.csv": b"path,seed\na.mp4,one\n",
    "boundaries.csv": b"path,boundaries\na.mp4,1 x\n",
}


def write(folder: Path) -> None:
    """Make all of them, and what else the command lines name."""
    for name, data in (WEIGHTS | VIDEOS | LISTS).items():
        (folder / name).write_bytes(data)
    (folder / "latin.csv").write_bytes("path,prompt\na.mp4,é\n".encode("latin-1"))
    (folder / "unfinished.safetensors.aria2").write_bytes(b"\0")
    (folder / "file.txt").write_text("a fox\n")
    for name in ("clip.mp4", "clip.png"):
        (folder / name).write_bytes(b"\0" * 64)
    for name in ("empty", "broken_run", "list_run", "csv_run", "phases_run"):
        (folder / name).mkdir()
    (folder / "broken_run" / "config.yaml").write_text("a: [1, {\n")
    (folder / "list_run" / "config.yaml").write_text("- 1\n- 2\n")
    (folder / "csv_run" / "config.yaml").write_text("a,b\n1,2\n")
    (folder / "csv_run" / "metrics.csv").write_text("step,loss\n1,0.5,7\n")
    (folder / "phases_run" / "phases.yaml").write_text("phases: {a: 5}\n")
    (folder / "broken_configs" / "memory").mkdir(parents=True)
    (folder / "broken_configs" / "memory" / "broken.yaml").write_text("a: [1, {\n")
    (folder / "dead_link").symlink_to("gone")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
