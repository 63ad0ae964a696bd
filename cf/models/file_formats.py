"""What a file is that holds no weights which can be read here, told by its first bytes."""

import zipfile
from pathlib import Path

from cf.files.downloads import pointer

_PLAIN = "give the model's .safetensors or .pt file"
_UNPACK = "unpack it and give the folder or the file of weights in it"
_AGAIN = "download it again, from the file's own address and logged in where that is needed"
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"ftrt", "a TensorRT engine, compiled for one GPU", _PLAIN),
    (b"\x89HDF", "HDF5 (Keras)", _PLAIN),
    (b"\x93NUMPY", "a NumPy array", _PLAIN),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (b"Rar!", "a rar archive", _UNPACK),
    (b"\xfd7zXZ", "an xz archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
)
_ENDINGS = {
    ".onnx": "ONNX, a graph for inference",
    ".engine": "a TensorRT engine, compiled for one GPU",
    ".plan": "a TensorRT engine, compiled for one GPU",
    ".trt": "a TensorRT engine, compiled for one GPU",
    ".tflite": "a TensorFlow Lite graph",
    ".mlmodel": "a Core ML model",
    ".msgpack": "Flax (JAX)",
}
_HEAD = 4096


def foreign_format(file: Path) -> str | None:
    """What else the file is, and what to do about it; None where it may hold weights."""
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        return f"is empty (0 bytes); {_AGAIN}"
    if problem := pointer(file):
        return problem
    for magic, name, remedy in _MAGIC:
        if head.startswith(magic):
            return f"is {name}; {remedy}"
    if file.suffix.lower() in _ENDINGS or _is_onnx(head):
        return f"is {_ENDINGS.get(file.suffix.lower(), _ENDINGS['.onnx'])}; {_PLAIN}"
    if head[257:262] == b"ustar":
        return f"is a tar archive; {_UNPACK}"
    if head.startswith(b"PK"):
        return _foreign_zip(file)
    if file.suffix.lower() == ".json" and head.lstrip()[:1] in (b"{", b"["):
        return (
            "holds settings and no weights; give the file of weights that it belongs to, or their "
            f"folder, {file.parent}"
        )
    return _foreign_text(head)


def _is_onnx(head: bytes) -> bool:
    """A protocol buffer whose first two fields are a version and who wrote it."""
    return head[:1] == b"\x08" and head[2:3] == b"\x12" and b"pytorch" in head[:32]


def _foreign_zip(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return None  # cut off: told by who reads it
    names = [entry.filename for entry in entries]
    if any(name.endswith("/constants.pkl") for name in names):
        return f"is TorchScript, a program with its weights; {_PLAIN}"
    if not any(name.endswith("/data.pkl") for name in names):
        arrays = names and all(name.endswith(".npy") for name in names)
        return f"is NumPy's .npz; {_PLAIN}" if arrays else f"is a zip archive; {_UNPACK}"
    if any(entry.file_size > entry.compress_size for entry in entries):
        return f"was packed again, which PyTorch never does; {_PLAIN} as it was published"
    return None


def _foreign_text(head: bytes) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    lower = start[:512].lower()
    if lower.startswith((b"<!doctype", b"<html", b"<head", b"<body")):
        return f"is a web page (HTML) in place of the weights; {_AGAIN}"
    if lower.startswith(b"<"):
        return f"is XML, as servers send with an error, in place of the weights; {_AGAIN}"
    try:
        text = start[:512].decode()
    except UnicodeDecodeError as error:
        if error.start < len(start[:512]) - 3:
            return None
        text = start[: error.start].decode()
    if not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    said = " ".join(text.split())[:80]
    if start[:1] in (b"{", b"["):
        return f"is JSON in place of the weights: {said!r}; {_AGAIN}"
    return f"is text in place of the weights: {said!r}; {_AGAIN}"
