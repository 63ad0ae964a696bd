"""`python -m cf.weights status|fetch`: which published weights are on this machine."""

import argparse
import sys
from collections.abc import Sequence

_COLUMNS = ("name", "found in", "size", "hash", "licence", "file")


def status() -> str:
    """A table of all published weights that metrics can use."""
    from cf.metrics.extractors.registry import ENTRIES

    rows = [_COLUMNS, *(_row(name) for name in ENTRIES)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _row(name: str) -> tuple[str, ...]:
    from cf.metrics.extractors.lookup import places, published, sha256
    from cf.metrics.extractors.registry import entry

    one = entry(name)
    for kind, path in places(name):
        if path.is_file():
            size = f"{path.stat().st_size / 2**20:.1f} MiB"
            known = path.name == one.file and one.sha256 is not None
            right = published(one, sha256(path))
            verdict = "ok" if right else "WRONG" if known else "unverified"
            return name, kind, size, verdict, one.licence, str(path)
    return name, "-", "-", "-", one.licence, f"{one.file}: {one.remedy}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Show the table, or fetch weights by name."""
    parser = argparse.ArgumentParser(
        prog="python -m cf.weights",
        description="Published weights for metrics: what is on this machine, and fetching more.",
        epilog="They are kept in $CF_WEIGHTS, or in .cache/cf of your home.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="which weights are here, and whether they are the real ones")
    getter = commands.add_parser("fetch", help="download weights, and check them")
    getter.add_argument("names", nargs="+", metavar="name", help="as `status` lists them")
    given = parser.parse_args(arguments)
    if given.command == "status":
        sys.stdout.write(status() + "\n")
        return
    from cf.metrics.extractors.fetch import fetch

    for name in given.names:
        try:
            path = fetch(name)
        except (OSError, ValueError) as error:
            sys.exit(f"cf.weights: {error}")
        sys.stdout.write(f"{name}: {path}\n")


if __name__ == "__main__":
    main()
