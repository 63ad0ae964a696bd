"""Text, tables, JSON and YAML of users: read in any encoding, or refused by file and line."""

from __future__ import annotations

import csv
import difflib
import errno
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cf.files.downloads import to_fetch
from cf.files.encodings import decoded_text, is_binary
from cf.files.naming import spelt
from cf.files.plain_yaml import loaded
from cf.files.tables import original

MOST_BYTES = 2**26
"""Of a text file; a list of a million prompts is smaller."""
_MOST_YAML_BYTES = 2**22
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        line: at which it begins in the file, from 1.
        cells: column -> text, without spaces around it.
    """

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class TextTable:
    """A file of comma-, semicolon- or tab-separated values with a heading.

    Attributes:
        columns: as they stand in the heading; those that are known, as they are known.
    """

    path: Path
    columns: list[str]
    rows: list[Row]

    def at(self, row: Row) -> str:
        """Where a row is, as the beginning of a message."""
        return f"{self.path}, line {row.line}"


def existing_file(path: str | Path, what: str = "file") -> Path:
    """The path, once sure that a file can be read there.

    Raises:
        ValueError: nothing is there, or a folder, a pipe, or a link that leads nowhere.
    """
    path = Path(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise ValueError(f"{path} is a link to {path.readlink()}, which is not there") from None
        near = _closest(path)
        raise ValueError(f"there is no {what} {path}{near}{to_fetch(path)}") from None
    except ValueError:  # a NUL byte
        raise ValueError(f"{str(path)!r} cannot be the path of a file") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno == errno.ELOOP:
            reason = "its links lead round in a circle"
        raise ValueError(f"the {what} {path} cannot be read ({reason})") from None
    if path.is_dir():
        raise ValueError(f"{path} is a folder, and a {what} is wanted")
    if not path.is_file():
        raise ValueError(f"{path} is no regular file (mode {status.st_mode:o}); a {what} is wanted")
    return path


def text_of(path: str | Path, what: str = "text file", most_bytes: int = MOST_BYTES) -> str:
    """All of a text file; lines end with a single line feed, however they ended in the file.

    Read are UTF-8 and UTF-16, with or without a byte order mark, and UTF-32 with one. Older
    encodings are not guessed, since a wrong guess shows in no test: they are refused.

    Raises:
        ValueError: it cannot be read, is too large, or is no text in these encodings.
    """
    path = existing_file(path, what)
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise ValueError(f"the {what} {path} cannot be read ({error.strerror})") from None
    kind = is_binary(data)
    if kind:
        raise ValueError(f"{path} is {kind}, and a {what} is wanted")
    if len(data) > most_bytes:
        raise ValueError(
            f"{path} has {path.stat().st_size:,} bytes; a {what} has at most {most_bytes:,}"
        )
    try:
        text = decoded_text(data)
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("\n\ufeff", "\n")  # files that were joined bring their marks along


def lines_of(path: str | Path, what: str = "text file") -> list[tuple[int, str]]:
    """Lines that are not empty, with their numbers, without spaces around them."""
    lines = enumerate(text_of(path, what).split("\n"), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def table_of(
    path: str | Path,
    needed: Collection[str] = (),
    known: Collection[str] | None = None,
    what: str = "csv file",
) -> TextTable:
    """A table with its heading; the separator is found from the heading. Empty lines are left out.

    Args:
        path: of the file.
        needed: columns that must be there.
        known: columns that may be there besides; None: any.
        what: names the kind of file in messages.

    Raises:
        ValueError: as `text_of`; a column is missing, unknown or there twice, a row has more or
            fewer cells than the heading, or quotes are not closed.
    """
    path, text = Path(path), text_of(path, what)
    excel = re.match(r"sep=(.)\n", text)  # as Excel writes it
    heading = text.removeprefix(excel[0] if excel else "").partition("\n")[0]
    delimiter = excel[1] if excel else max(_DELIMITERS, key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begin, read = 1, list[tuple[int, list[str]]]()
    try:
        for cells in reader:
            read += [(begin, [original(cell.strip()) for cell in cells])] if any(cells) else []
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, from line {begin}: {error}; are quotes closed?") from None
    del read[: bool(excel)]
    if not read:
        raise ValueError(f"{path} is empty; a {what} begins with the names of its columns")
    columns = [spelt(name, {*needed, *(known or ())}) for name in read[0][1]]
    _check_columns(path, columns, needed, known)
    rows = []
    for line, cells in read[1:]:
        if len(cells) != len(columns):
            raise ValueError(
                f"{path}, line {line}: it has {len(cells)} cells, and the heading has "
                f"{len(columns)} columns ({', '.join(columns)}); put text that holds "
                f"{delimiter!r} between double quotes"
            )
        rows.append(Row(line, dict(zip(columns, cells, strict=True))))
    return TextTable(path, columns, rows)


def read_json_file(path: str | Path, what: str = "JSON file", literal: bool = False) -> Any:
    """The value of a JSON file.

    Args:
        path: of the file.
        what: names the kind of file in messages.
        literal: numbers stay texts, spelt as in the file.

    Raises:
        ValueError: as `text_of`; it is no JSON, or a name comes twice in one object.
    """
    return _json(text_of(path, what), str(path), 1, literal)


def json_lines_of(
    path: str | Path, what: str = "JSON lines file", literal: bool = False
) -> Iterator[tuple[int, Any]]:
    """The values of a file with one JSON value a line, with the numbers of their lines."""
    for number, line in lines_of(path, what):
        yield number, _json(line, str(path), number, literal)


def yaml_of(path: str | Path, what: str = "YAML file", literal: bool = False) -> Any:
    """The value of a YAML file; nothing that it names is made.

    Args:
        path: of the file.
        what: names the kind of file in messages.
        literal: numbers, dates, `yes` and `no` stay texts, spelt as in the file.

    Raises:
        ValueError: as `text_of`; it is no YAML, a name comes twice, or aliases make it endless.
    """
    text = text_of(path, what, _MOST_YAML_BYTES)
    try:
        return loaded(text, literal)
    except ValueError as error:
        raise ValueError(f"{path}{error}") from None


def _json(text: str, path: str, first: int, literal: bool) -> Any:
    spelt: dict[str, Any] = dict.fromkeys(("parse_int", "parse_float", "parse_constant"), str)
    try:
        return json.loads(text, object_pairs_hook=_object, **(spelt if literal else {}))
    except json.JSONDecodeError as error:
        line = first + error.lineno - 1
        raise ValueError(
            f"{path}, line {line}, column {error.colno}: it is no JSON ({error.msg})"
        ) from None
    except RecursionError:
        raise ValueError(f"{path}, from line {first}: it nests too deep to be read") from None
    except ValueError as error:  # a name that comes twice, or a number of thousands of digits
        raise ValueError(f"{path}, from line {first}: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        twice = _twice(name for name, _ in pairs)
        raise ValueError(f"{twice!r} comes twice in one object")
    return tree


def _twice(names: Iterable[str]) -> str | None:
    """The first name that comes a second time."""
    seen = set[str]()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _check_columns(
    path: Path, columns: list[str], needed: Collection[str], known: Collection[str] | None
) -> None:
    has = f"it has the columns {', '.join(map(repr, columns))}"
    if (twice := _twice(columns)) is not None:
        raise ValueError(f"{path}: the column {twice!r} comes twice; {has}")
    for name in needed:
        if name not in columns:
            near = difflib.get_close_matches(name, [column.casefold() for column in columns], 1)
            raise ValueError(
                f"{path} has no column {name!r}{f' (is {near[0]!r} meant?)' if near else ''}; {has}"
            )
    unknown = [name for name in columns if known is not None and name not in {*needed, *known}]
    if unknown:
        raise ValueError(
            f"{path}: the column {unknown[0]!r} is unknown; {has}, and may have "
            f"{', '.join([*needed, *(known or ())])}"
        )


def _closest(path: Path) -> str:
    """A file beside it whose name is much the same, as the end of a message."""
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"; nor is there a folder {path.parent}" if not path.parent.is_dir() else ""
    near = difflib.get_close_matches(path.name, names[:10_000], 1)
    return f"; is {path.with_name(near[0])} meant?" if near else ""
