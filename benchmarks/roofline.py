"""What generation takes, part by part, and which share of what the machine can do that is.

    python benchmarks/roofline.py                            on the CPU: a tiny and a thin network
    python benchmarks/roofline.py --presets longlive self_forcing --device cuda --dtype bfloat16
    python benchmarks/roofline.py --cases "model=wan_1_3b codec=wan text=umt5 rollout=few_steps \
        memory=slow_fast fps=16 size=[480,832]" --device cuda --dtype bfloat16 --compile graphs

Networks and codecs have random weights in their published sizes, which takes the same time. A case
is what would be typed after `python -m cf.generate`. Of every case there is one row:

first frame     from the call to the first block's pixels, in a process where all is loaded
denoise, decode a block of a full memory, and its pixels; the device is waited for
end to end      a block when blocks follow one another, with its pixels as bytes and H.264 files
TFLOP           of matrix products, attention and convolutions in the block, counted as it runs
roofline        the least time for these: each at the rate that the same machine reached, right
                before, in one large product of the feed-forward's and one attention of the block's
                shapes
share           roofline by denoise: 1 would be a block in which nothing else takes time
peak            most bytes at once on a GPU; on the CPU what the process had at most
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from hydra import compose, initialize_config_dir
from stream_timer import _processor, _rss
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from cf.evaluation.provenance import versions
from cf.files.tables import markdown_of
from cf.generation.files import VideoFiles
from cf.models.attention_kernel import attention_kernel
from cf.models.compiled import check_compile, compile_blocks
from cf.models.text import NoText
from cf.paths import CONFIG_DIR
from cf.runs.block_stream import BlockStream
from cf.runs.generator import Generator
from cf.runs.outline import PARTS, codec_outline, outlined, sized, way_of
from cf.settings.build import Settings, to_settings

HERE = Path(__file__).resolve().parent
CASES = (
    "model=tiny codec=pixels text=none rollout=few_steps memory=sliding fps=8 size=[32,32]",
    "model=wan_1_3b model.num_layers=2 codec=wan text=umt5 rollout=few_steps memory=sliding fps=16 "
    "size=[48,80]",
)
Row = dict[str, Any]
_ATTENTION = "scaled_dot_product"


def generator_of(typed: Sequence[str], device: torch.device, dtype: str, how: Any) -> Generator:
    """What `cf.generate` would load, with random weights."""
    with initialize_config_dir(version_base="1.3", config_dir=CONFIG_DIR):
        settings = to_settings(compose("generate", ["checkpoint=none", *typed]))
    parts = {name: settings.get(name) for name in (*PARTS, "fps", "size")}
    if lacking := [name for name, value in parts.items() if value is None]:
        raise SystemExit(f"{' '.join(typed)}: give {'=..., '.join(lacking)}=...")
    way = way_of(settings, parts)
    codec = codec_outline(parts["codec"], settings)
    model: Settings = sized(parts["model"], parts["size"], codec)
    network = drawn(outlined(model, dtype), device)
    compile_blocks(network, how)
    size = (int(parts["size"][0]), int(parts["size"][1]))
    drawn(codec, device)
    return Generator(network, codec, NoText(), way.rollout, way.switch, float(parts["fps"]), size)


def drawn(module: Any, device: torch.device) -> Any:
    """The module on a device, with small random weights where it had none."""
    if any(x.is_meta for x in module.parameters()):
        module.to_empty(device=device)
        with torch.no_grad():
            for x in (*module.parameters(), *module.buffers()):
                if x.is_floating_point():
                    x.normal_(std=0.02)
    return module.to(device).eval().requires_grad_(False)


@torch.inference_mode()
def measured(typed: str, device: torch.device, args: argparse.Namespace) -> Row:
    """The row of a case."""
    made = generator_of(typed.split(), device, args.dtype, args.compile)
    block, timed = made.rollout.block_frames, Clock(device)
    script = [(0, made.network.fake_conditioning(1, block * (args.warm + 2 * args.blocks + 3)))]
    if args.compile != "none":  # which is no part of the first frame
        made.begin(None, script, 1, [0]).denoise()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    blocks, took = made.begin(None, script, 0, [0]), Parts([], [])
    first = timed(lambda: blocks.decode(blocks.denoise()))
    for _ in range(args.warm):
        blocks.denoise()
    for _ in range(args.blocks):
        took.add(blocks, timed)
    whole = streamed(made, blocks, args.blocks)
    counted = operations(blocks.denoise)
    latents = blocks.state.recent
    assert latents is not None
    decoding = operations(lambda: blocks.decode(latents[:, -block:]))
    rates = Rates(made, timed)
    least = counted[0] / rates.products + counted[1] / rates.attention
    return {
        "case": typed,
        "first_frame": first,
        "denoise": median(took.denoise),
        "decode": median(took.decode),
        "end_to_end": whole,
        "frames_per_second": block * made.codec.time_stride / whole,
        "tflop": sum(counted) / 1e12,
        "decode_tflop": sum(decoding) / 1e12,
        "products_tflops": rates.products / 1e12,
        "attention_tflops": rates.attention / 1e12,
        "roofline": least,
        "share": least / median(took.denoise),
        "peak_gb": peak(device) / 1e9,
        "kernel": attention_kernel(made.network),
    }


class Parts(NamedTuple):
    """Seconds of every block, in its two parts."""

    denoise: list[float]
    decode: list[float]

    def add(self, blocks: BlockStream, timed: Clock) -> None:
        """Time one more."""
        made: list[Any] = []
        self.denoise.append(timed(lambda: made.append(blocks.denoise())))
        self.decode.append(timed(lambda: blocks.decode(made[0])))


def streamed(made: Generator, blocks: BlockStream, count: int) -> float:
    """Seconds of a block when one follows the other, into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with VideoFiles([path], made.fps, made.size, 10**6, 0) as files:
            began = time.perf_counter()
            for _ in range(count):
                files.add(blocks.decode(blocks.denoise()))
            files.saved()
            return (time.perf_counter() - began) / count


class Clock:
    """Seconds of a call, with what it leaves to a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, run: Callable[[], Any]) -> float:
        """How long it takes."""
        self._wait()
        began = time.perf_counter()
        run()
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class Rates:
    """Operations per second of the two kinds that a transformer is made of, on its own shapes."""

    def __init__(self, made: Generator, timed: Clock) -> None:
        network: Any = made.network
        layer = network.blocks[0]
        first, heads = layer.ffn[0], layer.self_attn.num_heads
        rows, columns = (
            side // patch
            for side, patch in zip(network.latent_shape[1:], network.patch_size, strict=True)
        )
        own = made.rollout.block_frames * rows * columns
        attended = (made.rollout.memory.max_frames or 21) * rows * columns
        like = {"device": network.device, "dtype": network.dtype}
        x = torch.randn(own, first.in_features, **like)
        weight, bias = torch.randn_like(first.weight), torch.randn_like(first.bias)
        work = 2 * own * first.in_features * first.out_features
        self.products = work / _least(timed, lambda: F.linear(x, weight, bias))
        width = network.blocks[0].self_attn.q.out_features // heads
        q = torch.randn(1, heads, own, width, **like)
        k = torch.randn(1, heads, attended, width, **like)
        work = sdpa_flop_count(q.shape, k.shape, k.shape)
        self.attention = work / _least(timed, lambda: F.scaled_dot_product_attention(q, k, k))


def _least(timed: Clock, run: Callable[[], Any], turns: int = 10) -> float:
    """The shortest of several turns: a rate that the machine has reached."""
    run()
    many = max(round(0.02 / max(timed(run), 1e-7)), 1)
    return min(timed(lambda: [run() for _ in range(many)]) / many for _ in range(turns))


def operations(run: Callable[[], Any]) -> tuple[float, float, float]:
    """Of matrix products, of attention and of convolutions, in a call as it is written."""

    def on_cpu(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(q, k, v))

    kind = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # which torch leaves out
    with FlopCounterMode(display=False, custom_mapping={kind: on_cpu}) as counted:
        run()
    found = counted.get_flop_counts().get("Global", {})
    attention = sum(count for kind, count in found.items() if _ATTENTION in str(kind))
    folded = sum(count for kind, count in found.items() if "convolution" in str(kind))
    return float(sum(found.values()) - attention - folded), float(attention), float(folded)


def peak(device: torch.device) -> int:
    """Bytes at most."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return _rss()


def table(rows: Sequence[Row], args: argparse.Namespace, command: Sequence[str]) -> str:
    """The rows as markdown."""
    head = ["case", "first frame", "denoise", "decode", "end to end", "frames/s", "TFLOP"]
    head += ["TFLOP/s, products", "attention", "roofline", "share", "peak GB"]
    body = [
        [
            row["case"],
            *(f"{row[name]:.3f} s" for name in ("first_frame", "denoise", "decode", "end_to_end")),
            f"{row['frames_per_second']:.2f}",
            f"{row['tflop']:.4g} + {row['decode_tflop']:.3g}",
            f"{row['products_tflops']:.3g}",
            f"{row['attention_tflops']:.3g}",
            f"{row['roofline']:.4f} s",
            f"{row['share']:.2f}",
            f"{row['peak_gb']:.2f}",
        ]
        for row in rows
    ]
    told = versions()
    kernels = ", ".join(sorted({row["kernel"] for row in rows}))
    about = (
        f"{_name(args.device)}, {torch.get_num_threads()} of {os.cpu_count()} cores, {args.dtype}, "
        f"compile={args.compile}, attention: {kernels}, torch {told['torch']}, commit "
        f"{told.get('commit', 'unknown')}. Median of {args.blocks} blocks after {args.warm}; "
        "TFLOP of a block + of its pixels; share: roofline / denoise."
    )
    lines = ["# Roofline", "", "Generated; roofline.py says what each column is.", ""]
    lines += ["```", shlex.join(command), "```", "", about, "", *markdown_of([head, *body])]
    return "\n".join(lines).rstrip() + "\n"


def _name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()


def main(given: Sequence[str] | None = None) -> None:
    """Write a table with a row for each case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="*", default=[], help="settings of cf.generate, quoted")
    parser.add_argument("--presets", nargs="*", default=[], help="names, at their full size")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--compile", default="none", choices=["none", "blocks", "graphs"])
    parser.add_argument("--warm", type=int, default=5, help="blocks until the memory is full")
    parser.add_argument("--blocks", type=int, default=5, help="that are timed")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--folder", default=str(HERE / "results"))
    args = parser.parse_args(given)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    check_compile(args.compile, device)
    cases = [*args.cases, *(f"preset={name}" for name in args.presets)] or list(CASES)
    rows = []
    for case in cases:
        rows.append(measured(case, device, args))
        sys.stdout.write(json.dumps(rows[-1]) + "\n")
        sys.stdout.flush()
    typed = sys.argv[1:] if given is None else given
    told = table(rows, args, ["python", "benchmarks/roofline.py", *typed])
    folder = Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "roofline.md").write_text(told)
    sys.stdout.write("\n" + told)


if __name__ == "__main__":
    main()
