"""GGUF: the values of the package's own reader, and hostile headers told in bounded memory."""

import resource
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import model

from cf.models.checkpoints import CheckpointError, load_into, load_weights
from cf.models.start import fingerprint

gguf: Any = pytest.importorskip("gguf")
KINDS = ("Q8_0", "Q4_K", "Q6_K", "Q5_0", "F16", "BF16", "F32")
WIDE = {"dim": 256, "ffn_dim": 256, "num_layers": 1, "control_dim": None, "text_dim": 32}


def wide() -> Any:
    return model(torch.float32, **WIDE)


def written(
    file: Path, kind: str, prefix: str = "", orig_shape: bool = False, part: slice = slice(None)
) -> Path:
    """As ComfyUI-GGUF's converter does: matrices in blocks, vectors and patches in float32."""
    writer = gguf.GGUFWriter(file, "wan")
    random = np.random.default_rng(0)
    qtype = gguf.GGMLQuantizationType[kind]
    for name, weight in list(wide().state_dict().items())[part]:
        array = weight.numpy()
        if name == "patch_embedding.weight" and orig_shape:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", [int(n) for n in array.shape])
            array = array.reshape(array.shape[0], -1)
        if array.ndim != 2 or array.shape[1] % 256:
            writer.add_tensor(prefix + name, array)
            continue
        try:
            packed = gguf.quantize(array, qtype)
        except NotImplementedError:  # of K there is none in Python: any bits are numbers
            block, width = gguf.GGML_QUANT_SIZES[qtype]
            packed = random.integers(0, 60, (len(array), array.shape[1] // block * width))
            packed = packed.astype(np.uint8)
        writer.add_tensor(prefix + name, packed, raw_dtype=qtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.mark.parametrize("kind", KINDS)
def test_the_values_are_those_of_the_package(tmp_path: Path, kind: str) -> None:
    file = written(tmp_path / "wan.gguf", kind, prefix="model.diffusion_model.")
    expected = {
        tensor.name.removeprefix("model.diffusion_model."): gguf.dequantize(
            tensor.data, tensor.tensor_type
        ).reshape([int(n) for n in tensor.shape][::-1])
        for tensor in gguf.GGUFReader(file).tensors
    }
    loaded = load_weights(file)
    assert loaded.keys() == expected.keys()
    for name, values in expected.items():
        assert np.array_equal(loaded[name].float().numpy(), values), name
    network = wide()
    load_into(network, loaded, "wan.gguf")
    assert torch.equal(
        network.state_dict()["blocks.0.ffn.0.weight"], loaded["blocks.0.ffn.0.weight"]
    )
    assert load_weights(tmp_path).keys() == loaded.keys(), "the one file of a folder"
    assert len(fingerprint(tmp_path)) == 64


def test_a_model_that_was_split_is_read_from_its_folder(tmp_path: Path) -> None:
    whole = load_weights(written(tmp_path / "wan.gguf", "Q8_0"))
    for i, part in enumerate((slice(None, None, 2), slice(1, None, 2)), 1):
        (tmp_path / "parts").mkdir(exist_ok=True)
        file = written(tmp_path / "parts" / f"wan-0000{i}-of-00002.gguf", "Q8_0", part=part)
    with pytest.raises(CheckpointError, match=r"one of the 2 files of a model; give their folder"):
        load_weights(file)
    parts = load_weights(file.parent)
    assert parts.keys() == whole.keys()
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


def test_shapes_that_were_flattened_come_back(tmp_path: Path) -> None:
    loaded = load_weights(written(tmp_path / "wan.gguf", "F16", orig_shape=True))
    own = wide().state_dict()
    assert torch.equal(loaded["patch_embedding.weight"], own["patch_embedding.weight"])


def test_without_the_package_the_install_line_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path / "wan.gguf", "Q8_0")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(CheckpointError, match=r"package gguf: pip install -e '.\[gguf\]'"):
        load_weights(file)


def head(tensors: int, values: int, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, values) + rest


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def info(name: bytes, dims: list[int], kind: int, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


HUGE = 2**62
HOSTILE: dict[str, Callable[[], bytes]] = {
    "many tensors": lambda: head(HUGE, 0),
    "many values": lambda: head(0, HUGE),
    "a version": lambda: head(0, 0, version=99),
    "a long key": lambda: head(0, 1, struct.pack("<Q", HUGE)),
    "a long text": lambda: head(0, 1, text(b"a") + struct.pack("<IQ", 8, HUGE)),
    "a long array": lambda: head(0, 1, text(b"a") + struct.pack("<IIQ", 9, 0, HUGE)),
    "many texts": lambda: head(0, 1, text(b"a") + struct.pack("<IIQ", 9, 8, 2**40) + bytes(4096)),
    "arrays of arrays": lambda: head(0, 1, text(b"a") + struct.pack("<IIQ", 9, 9, 2)),
    "no such type": lambda: head(0, 1, text(b"a") + struct.pack("<I", 77)),
    "many axes": lambda: head(1, 0, text(b"a") + struct.pack("<I", 2**31)),
    "a large tensor": lambda: head(1, 0, info(b"a", [2**40, 2**20], 0)),
    "no such numbers": lambda: head(1, 0, info(b"a", [32], 999)),
    "beyond the end": lambda: head(1, 0, info(b"a", [4], 0, 2**50) + bytes(64)),
    "an empty tensor": lambda: head(1, 0, info(b"a", [0], 0) + bytes(64)),
    "twice": lambda: head(2, 0, info(b"a", [4], 0) * 2 + bytes(128)),
    "part of a block": lambda: head(1, 0, info(b"a", [31], 8) + bytes(128)),
    "an alignment": lambda: head(
        0, 1, text(b"general.alignment") + struct.pack("<II", 4, 0) + bytes(64)
    ),
    "a shape": lambda: head(
        1,
        1,
        text(b"comfy.gguf.orig_shape.a")
        + struct.pack("<IIQ3i", 9, 5, 3, 2**30, 2**30, 8)
        + info(b"a", [4], 0)
        + bytes(128),
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_header_is_one_message_and_takes_no_memory(tmp_path: Path, kind: str) -> None:
    (tmp_path / "x.gguf").write_bytes(HOSTILE[kind]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"x\.gguf is GGUF that is truncated or damaged"):
        load_weights(tmp_path / "x.gguf")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.9])
def test_a_file_that_was_cut_off_is_told(tmp_path: Path, share: float) -> None:
    whole = written(tmp_path / "whole.gguf", "Q8_0").read_bytes()
    (tmp_path / "x.gguf").write_bytes(whole[: max(5, int(share * len(whole)))])
    with pytest.raises(CheckpointError, match=r"x\.gguf is GGUF that is truncated"):
        load_weights(tmp_path / "x.gguf")
