"""What a command leaves in its folder, as far as two runs of it may not differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file

_TIMED = (
    "timing",
    "speed/",
    "seconds",
    "frames_per_second",
    "cost",
    "peak",
    "real_time",
    "first_frame",
)
_TEMPORARY = (".cf-tmp", ".tmp", ".partial")
_STRICT = (".safetensors", ".ckpt", ".csv", ".jsonl", ".mp4", ".pt")  # equal in every two runs


def held(folder: Path) -> dict[str, Any]:
    """Names of files, and what is in them; logs and TensorBoard's events tell of times alone."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "events.out" not in file.name and file.suffix != ".log":
            found[str(file.relative_to(folder))] = _content(file)
    return found


def unsteady(first: dict[str, Any], second: dict[str, Any]) -> set[str]:
    """Files that differ between two runs of which none was killed: pictures with times in them.

    Raises:
        RuntimeError: names, weights, rows or videos differ.
    """
    differ = {one for one in first.keys() | second if first.get(one, 0) != second.get(one, 0)}
    strict = {one for one in differ if one.endswith(_STRICT) or (one in first) != (one in second)}
    if strict:
        raise RuntimeError(f"two runs without a kill differ in {sorted(strict)}")
    return differ


def differences(
    whole: dict[str, Any], mine: dict[str, Any], named: set[str]
) -> tuple[list[str], list[str]]:
    """Names of files that differ or are missing, and of those that were left behind."""
    left = [one for one in mine if any(part in one for part in _TEMPORARY)]
    names = whole.keys() | mine.keys() - set(left)
    missing = {one for one in names if (one in whole) != (one in mine)}
    other = [one for one in names - named - missing if whole[one] != mine[one]]
    return sorted(missing) + [_told(one, whole[one], mine[one]) for one in sorted(other)], left


def _told(name: str, whole: Any, mine: Any) -> str:
    """The name of a file, and what differs in it if that has names too."""
    if not (isinstance(whole, dict) and isinstance(mine, dict)):
        return name
    keys = [key for key in (whole | mine) if whole.get(key) != mine.get(key)]
    values = [f"{key}: {whole.get(key)!r:.60} to {mine.get(key)!r:.60}" for key in keys[:3]]
    return f"{name} ({'; '.join(values)})"


def _content(file: Path) -> Any:
    if file.name == "costs.csv":  # times alone
        return None
    if file.suffix == ".safetensors":
        return {k: _plain(v) for k, v in load_file(file).items()}
    if file.suffix in (".ckpt", ".pt"):
        return _plain(torch.load(file, weights_only=True, map_location="cpu"))
    if file.suffix == ".csv" and file.read_text().strip():
        table = pd.read_csv(file)
        kept = [one for one in table if not any(part in str(one) for part in _TIMED)]
        return table[kept].to_csv()
    if file.suffix == ".json":
        return _plain(json.loads(file.read_text()))
    return file.read_bytes()


def _plain(value: Any) -> Any:
    """The same in what can be compared: tensors as bytes, and no times."""
    if isinstance(value, torch.Tensor):
        raw = value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        return str(value.dtype), tuple(value.shape), raw
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not any(one in str(k) for one in _TIMED)}
        return {k: _plain(v) for k, v in kept.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value == value else "nan"
