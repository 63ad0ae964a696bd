"""Tables of published weights: what is here, what lacks, how large it is, and what gets it."""

from collections.abc import Sequence

from cf.models.releases import Need, gigabytes
from cf.models.repositories import Release
from cf.weights.presets import needs_of, preset_names

_COLUMNS = ("name", "found in", "size", "hash", "licence", "file")


def status_table() -> str:
    """A table of all published weights that metrics can use."""
    from cf.metrics.extractors.registry import ENTRIES

    return _table([_COLUMNS, *(_row(name) for name in ENTRIES)])


def status_of_presets(chosen: Sequence[str] = ()) -> str:
    """What each preset has and lacks; then what gets it, how large it is, and its licence.

    Raises:
        ValueError: a name that no preset has.
    """
    wanted = needs_of(*(chosen or preset_names()))
    rows: list[tuple[str, ...]] = [("preset", "here", "lacks")]
    for name, needs in wanted.items():
        have, gone = ([need.what for need in needs if need.there is yes] for yes in (True, False))
        rows.append((name, ", ".join(have) or "-", ", ".join(gone) or "-"))
    said = [_table(rows)]
    lacking = wanted_files([need for needs in wanted.values() for need in needs if not need.there])
    for release, files in lacking.items():
        said.append(
            f"\n{release.folder}: {_size(release, files)}, licence {release.licence}\n"
            f"  {release.command(files)}"
        )
    if lacking:
        named = " ".join(chosen) or "NAME"
        said.append(f"\nAll of it, checked: python -m cf.weights fetch {named}")
    return "\n".join(said)


def wanted_files(found: Sequence[Need]) -> dict[Release, list[str]]:
    """The files that are wanted of each repository."""
    files: dict[Release, dict[str, None]] = {}
    for need in found:
        if need.release is not None:
            files.setdefault(need.release, {}).update(dict.fromkeys(need.files))
    return {release: list(paths) for release, paths in files.items()}


def _size(release: Release, files: Sequence[str]) -> str:
    sizes = [release.file(path).size for path in files]
    total = sum(size or 0 for size in sizes)
    if None not in sizes:
        return gigabytes(total)
    return f"{gigabytes(total)} and files of unknown size" if total else "size unknown"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines)


def _row(name: str) -> tuple[str, ...]:
    from cf.metrics.extractors.lookup import is_published, places, sha256
    from cf.metrics.extractors.registry import entry

    extractor = entry(name)
    for kind, path in places(name):
        if path.is_file():
            size = f"{path.stat().st_size / 2**20:.1f} MiB"
            hashed = path.name == extractor.file and extractor.sha256 is not None
            right = is_published(extractor, sha256(path))
            verdict = "ok" if right else "WRONG" if hashed else "unverified"
            return name, kind, size, verdict, extractor.licence, str(path)
    return name, "-", "-", "-", extractor.licence, f"{extractor.file}: {extractor.remedy}"
