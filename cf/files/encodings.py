"""How the bytes of a text file spell characters: found from the bytes, never guessed."""

from __future__ import annotations

import codecs
import unicodedata

_MARKS = (  # the longer first: one begins with the other
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY = {
    b"\x1a\x45\xdf\xa3": "a Matroska or WebM video",
    b"RIFF": "an AVI video, a WebP picture or a sound",
    b"FLV\x01": "a Flash video",
    b"GIF8": "a GIF picture",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"PK\x03\x04": "a zip archive or a spreadsheet (export a sheet as csv)",
    b"\x1f\x8b": "a gzip archive (unpack it)",
    b"%PDF": "a PDF document",
    b"{\\rtf": "a document with its layout (save it as plain text)",
    b"PAR1": "a Parquet table (export it as csv)",
    b"ARROW1": "an Arrow table (export it as csv)",
    b"\xd0\xcf\x11\xe0": "an old Office document or spreadsheet (export a sheet as csv)",
    b"SQLite format 3": "an SQLite database (export a table as csv)",
    b"\x28\xb5\x2f\xfd": "a zstd archive (unpack it)",
    b"\x80\x02": "a Python pickle",
    b"\x80\x04": "a Python pickle",
}
_PAGES = (b"<!doctype html", b"<html")
_CONTROL = bytes({*range(32)} - {*b"\t\n\v\f\r\x1a"})
_NO_TEXT = ("Cc", "Cn", "Co", "Cs")  # control characters, and what is no character
_SHOWN = 12  # characters of what cannot be read, in each encoding that it may have
_OLDER = {  # as iconv calls them -> as Python does
    "GB18030": "gb18030",
    "BIG5": "big5hkscs",
    "SHIFT_JIS": "cp932",
    "EUC-JP": "euc_jp",
    "EUC-KR": "cp949",
    "WINDOWS-1251": "cp1251",
    "WINDOWS-1252": "cp1252",
    "UTF-16LE": "utf-16-le",
}
_ESCAPES = (b"\x1b$", b"\x1b(")  # as ISO-2022-JP switches between sets of characters


def is_binary(data: bytes) -> str:
    """What else a file is by its first bytes, as the end of a sentence; empty if it may be text."""
    if data[4:8] in (b"ftyp", b"moov", b"mdat"):
        return "an MP4 or MOV video"
    if len(data) > 9 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") < 10**8:
        return "a safetensors file"
    if data[:99].removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith(_PAGES):
        return "a web page (download the file itself)"
    return next((kind for start, kind in _BINARY.items() if data.startswith(start)), "")


def decoded_text(data: bytes) -> str:
    """The text, without a byte order mark.

    Raises:
        ValueError: the bytes are no text in UTF-8, UTF-16 or UTF-32; the message begins with the
            number of the line and says how to convert the file.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    if not encoding and (b"\0" in data or 4 * _controls(data) > len(data)):
        encoding = _without_mark(data)
    if any(one in data for one in _ESCAPES) and data.isascii():
        line = data.count(b"\n", 0, data.find(b"\x1b")) + 1
        raise ValueError(
            f"line {line}: it is in ISO-2022; save the file as UTF-8: iconv -f ISO-2022-JP -t UTF-8"
        )
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(_told(data, error)) from None
    place = text.find("\0")
    if place >= 0:
        line = text.count("\n", 0, place) + 1
        raise ValueError(f"line {line}: it holds a NUL byte, which no text does")
    return text


def _controls(data: bytes) -> int:
    """How many bytes are control characters, if each is a letter; breaks of lines are none."""
    return len(data) - len(data.translate(None, _CONTROL))


def _without_mark(data: bytes) -> str:
    """UTF-16 if all of it is text in an order of bytes, with more ASCII than in the other.

    A text in UTF-8 into which a few zeros strayed is Chinese as UTF-16; half of what UTF-16 spells
    by bytes that are UTF-8 as well is ASCII, with a zero each, or of one alphabet, with its number.
    """
    if 4 * _controls(data) < len(data) and _is_utf8(data.replace(b"\0", b"")):
        return ""
    fit = {"": (-1, 0)}
    for encoding in ("utf-16-le", "utf-16-be"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if _is_plain(text):
            alphabets = {ord(one) >> 8 for one in text}
            fit[encoding] = sum(one.isascii() for one in text), -len(alphabets)
    best = max(fit.values())
    found = [encoding for encoding, likely in fit.items() if likely == best]
    return found[0] if len(found) == 1 else ""


def _is_plain(text: str) -> bool:
    return all(one in "\t\n\r\f" or unicodedata.category(one) not in _NO_TEXT for one in text)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _told(data: bytes, error: UnicodeDecodeError) -> str:
    line = data.count(b"\n", 0, error.start) + 1
    readings = {name: _reading(data, error.start, codec) for name, codec in _OLDER.items()}
    shown = ", ".join(f"{name} {text!r}" for name, text in readings.items() if text)
    which = f"the one in which it reads right: {shown}" if shown else "the encoding that it has"
    return (
        f"line {line}: byte 0x{data[error.start]:02x} at offset {error.start:,} is no text in "
        f"{error.encoding.upper()}; save the file as UTF-8: iconv -f ENCODING -t UTF-8, "
        f"with {which}"
    )


def _reading(data: bytes, start: int, codec: str) -> str:
    """What stands around a byte in another encoding; empty if not all of the file is text there."""
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        return ""
    before = len(data[:start].decode(codec, errors="ignore"))
    begin = max(text.rfind("\n", 0, before) + 1, before - _SHOWN)
    return text[begin : before + _SHOWN].partition("\n")[0].strip() if _is_plain(text) else ""
