"""`python -m cf.weights status|fetch|verify|convert`: published weights on this machine."""

import argparse
import sys
from collections.abc import Sequence

from cf.settings.mistakes import exit_on_user_error
from cf.system.shell import show


def main(arguments: Sequence[str] | None = None) -> None:
    """Show what is here, fetch weights by name, or verify those of a preset."""
    options = _parser().parse_args(arguments)
    with exit_on_user_error("cf.weights"):
        _answer(options)


def _answer(options: argparse.Namespace) -> None:
    if options.command == "status":
        from cf.weights.status import status_of_presets, status_table

        text = status_of_presets(options.names)
        show(text if options.names else f"{text}\n\nfor metrics\n{status_table()}")
        return
    if options.command == "verify":
        from cf.weights.verify import verify

        verify(options.name, options.report, options.given, options.clip, options.psnr)
        return
    if options.command == "convert":
        from cf.weights.convert import converted

        for path in converted(options.source, options.settings):
            sys.stdout.write(f"{path}: {path.stat().st_size / 2**20:.1f} MiB\n")
        return
    from cf.weights.fetch import fetch_weights

    for name in options.names:
        for path in fetch_weights(name):
            sys.stdout.write(f"{name}: {path}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cf.weights",
        description="Published weights: of the students that cf.generate knows as preset=NAME, and "
        "for metrics. What is on this machine, fetching more, and whether it is right.",
        epilog="Students lie in weights/, as `hf download REPOSITORY --local-dir weights/NAME` "
        "puts them; weights for metrics in $CF_WEIGHTS, or in .cache/cf of your home.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser("status", help="what is here, what lacks, and what gets it")
    shown.add_argument("names", nargs="*", metavar="name", help="of presets; none: everything")
    getter = commands.add_parser("fetch", help="download weights, and check them")
    getter.add_argument("names", nargs="+", metavar="name", help="as `status` lists them")
    prover = commands.add_parser("verify", help="check a student's files, weights and one answer")
    prover.add_argument("name", help="of a preset")
    prover.add_argument("given", nargs="*", metavar="setting", help="as cf.generate takes them")
    prover.add_argument("--report", default="verify.json", help="where the findings are written")
    prover.add_argument(
        "--clip",
        action=argparse.BooleanOptionalAction,
        help="make a base's clip, on a CPU too; by default on a GPU alone",
    )
    prover.add_argument(
        "--psnr", type=float, default=25.0, help="decibels of the codec's round trip, at least"
    )
    converter = commands.add_parser("convert", help="write weights under other names")
    converter.add_argument("source", help="a file or folder: transformer, codec or text encoder")
    converter.add_argument(
        "settings",
        nargs="*",
        metavar="setting",
        help="to=original, diffusers or cf; out=folder or file; lora=file (several times for "
        "several), lora_alpha, container, dtype, num_heads",
    )
    return parser
