"""Whether a released student's files are whole and its network computes what it should."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cf import __version__
from cf.files.atomic import write_text
from cf.metrics.extractors.lookup import sha256
from cf.models.base import Backbone
from cf.models.checkpoints import load_into, load_weights
from cf.models.names import to_diffusers_name
from cf.models.releases import Need, is_base, missing, needs
from cf.models.writer import filled_backbone
from cf.settings.build import Settings, build
from cf.types import Conditioning
from cf.weights.answers import LEAST_PSNR, codec_answer, picture_answer, text_answer
from cf.weights.clip import clip_answer
from cf.weights.presets import settings_of

LARGEST_ERROR = 1e-4
"""Of a block against diffusers', relative to the largest number; both compute in float32."""
_ETAG = 64  # digits of a SHA-256, by which large files are told on the hub


def verify(
    name: str,
    report: str | Path,
    given: Sequence[str] = (),
    clip: bool | None = None,
    least_psnr: float = LEAST_PSNR,
) -> dict[str, Any]:
    """Check a preset's files, weights and known answers, and write down what was found.

    Files are compared with the hash that is known of them, here or from their download. Weights
    must have the network's names and shapes, and be finite, with their LoRA merged. One block, with
    the embeddings and the head, must answer as diffusers' does on the same weights. The codec must
    give a moving picture back, the text encoder tell sentences apart, and an image encoder
    pictures. Of a base a guided clip of five seconds is made, which lies beside the report: it must
    be finite, of more than one colour, and move.

    Args:
        name: of the preset.
        report: the file of the findings.
        given: settings beside the preset, as `cf.generate` takes them.
        clip: make the clip; None: on a GPU, since on a CPU it takes hours.
        least_psnr: decibels of the codec's round trip.

    Raises:
        ValueError: if files lack, or a check fails; the report is written all the same.
    """
    settings = settings_of(name, given)
    wanted = needs(settings)
    if said := missing(wanted):
        raise ValueError(said)
    findings: dict[str, Any] = {"preset": name, "versions": _versions()}
    findings["files"] = [file for need in wanted for file in _files(need)]
    wrong = [file["path"] for file in findings["files"] if file["hash"] == "WRONG"]
    checks: dict[str, Callable[[], dict[str, Any]]] = {
        "network": lambda: _network(settings),
        "block": lambda: known_answer(settings),
        "codec": lambda: codec_answer(settings, least_psnr),
        "text": lambda: text_answer(settings),
    }
    if settings.get("image_encoder"):
        checks["image_encoder"] = lambda: picture_answer(settings)
    if is_base(settings["checkpoint"]):
        checks["clip"] = lambda: clip_answer(settings, Path(report), asked=clip)
    for what, check in checks.items():
        if wrong and what == "clip":  # hours, for weights that are wrong
            continue
        try:
            findings[what] = check()
        except (ValueError, OSError) as error:
            findings.setdefault("failed", []).append(str(error))
            wrong.append(str(error))
    findings["ok"] = not wrong
    write_text(Path(report), json.dumps(findings, indent=2) + "\n")
    for line in _told(findings):
        sys.stdout.write(f"{line}\n")
    if wrong:
        raise ValueError(f"{name} is not as published: {'; '.join(wrong)}; see {report}")
    sys.stdout.write(f"{name} is right; the findings are in {report}\n")
    return findings


def _versions() -> dict[str, str]:
    said = {"cf": __version__, "torch": torch.__version__}
    for package in ("diffusers", "transformers", "safetensors"):
        try:
            said[package] = version(package)
        except PackageNotFoundError:
            said[package] = "not installed"
    return said


def _files(need: Need) -> list[dict[str, Any]]:
    """Size and hash of every file, and whether the hash is known."""
    if need.release is None or Path(need.paths[0]).is_file():
        paths = [(Path(need.paths[0]), need.files[0] if need.files else "")]
    else:
        folder = Path(need.paths[0])
        matches = [path for pattern in need.files for path in sorted(folder.glob(pattern))]
        paths = [(path, str(path.relative_to(folder))) for path in matches]
    return [_file(path, name, need) for path, name in paths if path.is_file()]


def _file(path: Path, name: str, need: Need) -> dict[str, Any]:
    expected = need.release.file(name).sha256 if need.release is not None else None
    expected = expected or _downloaded_as(path, name)
    digest = sha256(path)
    verdict = "unknown" if expected is None else "ok" if digest == expected else "WRONG"
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": digest, "hash": verdict}


def _downloaded_as(path: Path, name: str) -> str | None:
    """The hash that the hub told when it was downloaded, which `huggingface_hub` writes down."""
    root = path.parents[len(Path(name).parts) - 1] if name else path.parent
    noted = root / ".cache" / "huggingface" / "download" / f"{name}.metadata"
    try:
        etag = noted.read_text().splitlines()[1].strip()
    except (OSError, IndexError, UnicodeDecodeError):
        return None
    return etag if len(etag) == _ETAG else None


def _weights(settings: Settings) -> Mapping[str, Tensor]:
    return load_weights(settings["checkpoint"], **settings["weights"])


def _network(settings: Settings) -> dict[str, Any]:
    """Names, shapes and finiteness; on the device "meta", where weights take no memory."""
    state = _weights(settings)
    with torch.device("meta"):
        network = filled_backbone(
            lambda: build(settings["model"], "model"), state, settings["checkpoint"]
        )
    count = sum(weight.numel() for weight in network.parameters())
    of = len(list(network.parameters()))
    return {"tensors": of, "parameters": count, "writer": network.writer is not network}


def known_answer(settings: Settings) -> dict[str, Any]:
    """The largest difference of one block from diffusers' own, relative to its largest number.

    Raises:
        ValueError: if it is more than rounding.
    """
    try:
        import diffusers
    except ImportError:
        return {"against": "nothing, since diffusers is not installed: pip install -e '.[wan]'"}
    model = {**settings["model"], "num_layers": 1}
    network: Backbone = build(model, "model")
    state = _weights(settings)
    weights = {name: state[name].float() for name in network.state_dict()}
    load_into(network, weights, str(settings["checkpoint"]))
    twin: Any = diffusers.WanTransformer3DModel
    theirs = twin(
        num_attention_heads=model["num_heads"],
        attention_head_dim=model["dim"] // model["num_heads"],
        in_channels=model["latent_shape"][0] + model.get("reference_channels", 0),
        out_channels=model["latent_shape"][0],
        text_dim=model["text_dim"],
        freq_dim=model["freq_dim"],
        ffn_dim=model["ffn_dim"],
        num_layers=1,
        image_dim=model.get("image_dim"),
        added_kv_proj_dim=model["dim"] if model.get("image_dim") else None,
    )
    load_into(theirs, {to_diffusers_name(k): v for k, v in weights.items()}, "diffusers' model")
    error = _difference(network.eval(), theirs.eval(), model)
    if not error < LARGEST_ERROR:
        raise ValueError(f"one block differs from diffusers' by {error:.1e} of its largest number")
    return {"against": f"diffusers {diffusers.__version__}", "relative_error": error}


@torch.no_grad()
def _difference(network: Backbone, theirs: Any, model: Settings) -> float:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, model["latent_shape"][0], 8, 12, generator=random)
    text = torch.randn(1, model["text_len"], model["text_dim"], generator=random)
    t, image, reference = torch.tensor([0.7]), None, None
    if model.get("image_dim"):
        image = torch.randn(1, 257, model["image_dim"], generator=random)
    rows = x
    if more := model.get("reference_channels", 0):
        reference = torch.randn(1, 2, more, 8, 12, generator=random)
        rows = torch.cat((x, reference), 2)
    cond = Conditioning(text, image=image, reference=reference)
    ours = network(x, t[:, None].expand(-1, 2), cond).velocity
    out = theirs(rows.transpose(1, 2), 1000 * t, text, image, return_dict=False)[0].transpose(1, 2)
    return float((ours - out).abs().max() / out.abs().max())


def _told(findings: Mapping[str, Any]) -> list[str]:
    lines = [f"{file['hash']:8} {file['path']}" for file in findings["files"]]
    if "network" in findings:
        network = findings["network"]
        lines.append(f"{network['tensors']} tensors, {network['parameters']:,} numbers, all finite")
    if "codec" in findings:
        lines.append(f"codec: a moving picture comes back at {findings['codec']['psnr_db']:g} dB")
    for what, of in (("text", "two forms of a sentence"), ("image_encoder", "two like pictures")):
        if "alike" in findings.get(what, {}):
            answer = findings[what]
            lines.append(f"{what}: {answer['alike']:.3f} between {of}, else {answer['other']:.3f}")
    if "clip" in findings:
        lines.append(f"clip: {_told_clip(findings['clip'])}")
    if "block" in findings:
        error = findings["block"].get("relative_error")
        lines.append(
            f"one block against {findings['block']['against']}"
            + ("" if error is None else f": {error:.1e} of its largest number")
        )
    return lines


def _told_clip(clip: Mapping[str, Any]) -> str:
    if "numbers" not in clip:
        return str(clip["not_made"])
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in clip["numbers"].items())
    return f"{clip['file']}, {clip['sheet']}; {numbers}"
