"""Text, tables, JSON and YAML in every encoding: the text, or one message with file and line."""

import codecs
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cf.data.captions import caption_of, uncaptioned
from cf.evaluation.videos import list_videos
from cf.files.text import (
    existing_file,
    json_lines_of,
    lines_of,
    read_json_file,
    table_of,
    text_of,
    yaml_of,
)
from cf.modules.base import VideoModule

TEXT = 'a red fox — 一只狐狸\n"été", it\'s 🦊 #1\n\nlast'
BARE = ("utf-8", "utf-16-le", "utf-16-be")


def _put(folder: Path, content: bytes | str, name: str = "list.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", [*BARE, "utf-8-sig", "utf-16", "utf-32"])
def test_a_text_is_the_same_in_every_encoding(tmp_path: Path, encoding: str, ends: str) -> None:
    path = _put(tmp_path, TEXT.replace("\n", ends).encode(encoding))
    assert text_of(path) == TEXT
    assert [number for number, _ in lines_of(path)] == [1, 2, 4]


@pytest.mark.parametrize("text", ["a fox", "x\ny", "一只\n红色的狐狸在雪地里奔跑", "慢 a"])
def test_short_texts_in_utf_16_are_told_from_texts_with_zeros(tmp_path: Path, text: str) -> None:
    for encoding in BARE:
        assert text_of(_put(tmp_path, text.encode(encoding))) == text


def test_marks_of_files_that_were_joined_are_no_text(tmp_path: Path) -> None:
    path = _put(tmp_path, b"\n".join([codecs.BOM_UTF8 + b"one", codecs.BOM_UTF8 + b"two"]))
    assert lines_of(path) == [(1, "one"), (2, "two")]


@pytest.mark.parametrize("text", ["Лиса", "Рыжая лиса\nв снегу", "שועל אדום", "αλεπού"])
def test_alphabets_in_utf_16_are_told_from_control_characters(tmp_path: Path, text: str) -> None:
    """Their bytes are all below 128, and hold no zero where there is no ASCII."""
    for encoding in BARE:
        assert text_of(_put(tmp_path, text.encode(encoding))) == text


@pytest.mark.parametrize(
    ("encoding", "codec", "text"),
    [
        ("GB18030", "gb18030", "一只红色的狐狸"),
        ("BIG5", "big5", "一隻紅色的狐狸"),
        ("SHIFT_JIS", "cp932", "雪の中を走る赤い狐"),
        ("EUC-JP", "euc_jp", "雪の中を走る赤い狐"),
        ("EUC-KR", "euc_kr", "눈 속의 여우"),
        ("WINDOWS-1251", "cp1251", "Рыжая лиса"),
        ("WINDOWS-1252", "cp1252", "café"),
        ("UTF-16LE", "utf-16-le", "雪の中を走る赤い狐"),
        ("ISO-2022-JP", "iso2022_jp", "雪の中を走る赤い狐"),
    ],
)
def test_older_encodings_are_told_with_what_they_would_read(
    tmp_path: Path, encoding: str, codec: str, text: str
) -> None:
    data = b"one fox" + b"\n" + text.encode(codec) + b"\n"
    data = data if encoding != "UTF-16LE" else text.encode(codec)
    with pytest.raises(
        ValueError, match=r"list\.txt, line [12]: .*: iconv -f .* -t UTF-8"
    ) as refused:
        text_of(_put(tmp_path, data))
    if encoding == "ISO-2022-JP":
        assert f"iconv -f {encoding} -t" in str(refused.value)
        return
    assert f"{encoding} {text!r}" in str(refused.value)
    if encoding == "WINDOWS-1252":
        assert "line 2: byte 0xe9 at offset 11 is no text" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("eins\nété".encode("latin-1"), ["line 2", "0xe9", "'été'", "UTF-8"]),
        ("一只红色的狐狸".encode("gbk"), ["line 1", "UTF-8"]),
        (b"one\ntwo\0three", ["line 2", "NUL"]),
        (b"a fox\0x\na hen\n", ["line 1", "NUL"]),  # an even number: Chinese, if it were UTF-16
        (b"a red fox runs\na \0hen", ["line 2", "NUL"]),
        ("\ufeff \n<!DOCTYPE html><html>404".encode(), ["a web page"]),
        (b"{\\rtf1 a fox}", ["plain text"]),
        (b"PAR1" + bytes(range(99)), ["Parquet"]),
        (b"\0\0\0 ftypisom" + bytes(99), ["an MP4"]),
        (b"\x1a\x45\xdf\xa3" + bytes(99), ["Matroska"]),
        (b"PK\x03\x04" + bytes(99), ["spreadsheet"]),
        (b"x" * 101, ["101 bytes", "at most 100"]),
    ],
)
def test_what_is_no_text_is_told_as_what_it_is(
    tmp_path: Path, content: bytes, told: list[str]
) -> None:
    path = _put(tmp_path, content)
    with pytest.raises(ValueError, match=r"list\.txt") as refused:
        text_of(path, most_bytes=100)
    assert all(one in str(refused.value) for one in told)


def test_what_is_no_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    _put(tmp_path, "x", "prompts.txt")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "dangling").symlink_to("gone.txt")
    for name, reason in {
        "promts.txt": r"is .*prompts\.txt meant",
        "nowhere/a.txt": "nor is there a folder",
        "": "is a folder",
        "round": "in a circle",
        "dangling": "a link to gone.txt, which is not there",
        "prompts.txt/a": "Not a directory",
        "\0": "cannot be the path",
        "x" * 300: "too long",
    }.items():
        with pytest.raises(ValueError, match=reason):
            existing_file(tmp_path / name)
    with pytest.raises(ValueError, match="no regular file"):
        existing_file("/dev/zero")


@pytest.mark.parametrize("encoding", [*BARE, "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_the_same_however_a_program_wrote_it(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    lines = [["path", "prompt"], ["a.mp4", '"one, ""two"";\nthree"'], ["", ""], ["b.mp4", " é "]]
    text = "\r\n".join(delimiter.join(cells) for cells in lines)
    table = table_of(_put(tmp_path, text.encode(encoding)), ["path"], ["prompt"])
    assert [row.line for row in table.rows] == [2, 5]
    assert [row.cells["prompt"] for row in table.rows] == ['one, "two";\nthree', "é"]
    assert table.rows[0].cells["path"] == "a.mp4"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("file,prompt\na,b", "no column 'path'.*'file', 'prompt'"),
        ("Paht\na", "is 'paht' meant"),
        ("path,path\na,b", "'path' comes twice"),
        ("path,promt\na,b", "'promt' is unknown.*prompt"),
        ("path,prompt\na,b\nc,d,e", "line 3: it has 3 cells.*2 columns"),
        ("path,prompt\na,b\nc", "line 3: it has 1 cells"),
        ('path,prompt\na,b\nc,"d', "from line 3: .*quotes"),
        ("path,prompt\na," + "x" * 200_000, "from line 2: .*limit"),
    ],
)
def test_a_broken_table_names_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=rf"list\.csv.*{told}"):
        table_of(_put(tmp_path, text, "list.csv"), ["path"], ["prompt"])


def test_values_keep_their_spelling_where_they_stand_for_text(tmp_path: Path) -> None:
    spelt = ["42", "1.50", "1e3"]
    assert read_json_file(_put(tmp_path, "[42, 1.50, 1e3]"), literal=True) == spelt
    assert read_json_file(_put(tmp_path, "[42, 1.50, 1e3]")) == [42, 1.5, 1000.0]
    assert [one for _, one in json_lines_of(_put(tmp_path, "42\n\n1.50"), literal=True)] == spelt[
        :2
    ]
    text = "[42, 1.50, yes, 2024-01-02, null]"
    assert yaml_of(_put(tmp_path, text), literal=True) == ["42", "1.50", "yes", "2024-01-02", None]


@pytest.mark.parametrize(
    ("read", "text", "told"),
    [
        (read_json_file, '{"a": 1,\n "b" 2}', "line 2, column 6"),
        (read_json_file, '{"a": 1, "a": 2}', "'a' comes twice"),
        (read_json_file, "[" * 100_000, "nests too deep"),
        (read_json_file, "9" * 5000, "from line 1"),
        (lambda path: list(json_lines_of(path)), '{"a": 1}\n\n{"a": ', "line 3"),
        (yaml_of, "a: 1\nb: [1, 2\nc: 3", "line 3"),
        (yaml_of, "a: 1\na: 2", "line 2.*'a': it comes twice"),
        (yaml_of, "- " * 5000 + "a", "more than 100 nested"),
        (yaml_of, "a: &a [*a]", "endless"),
        (yaml_of, "a: !!python/object/apply:os.system [ls]", "the tag .* is not read"),
        (yaml_of, "a: 2024-99-99", "it is no YAML"),
        (yaml_of, "a: &a {b: 1}\nc: {<<: *a}", "merges"),
        (
            yaml_of,
            "a0: &a0 [1, 2]\n"
            + "".join(f"a{i + 1}: &a{i + 1} [{f'*a{i},' * 9}]\n" for i in range(9)),
            "endless or too large",
        ),
    ],
)
def test_broken_values_name_file_and_line(
    tmp_path: Path, read: Callable[[Path], object], text: str, told: str
) -> None:
    with pytest.raises(ValueError, match=rf"(?s)list\.txt.*{told}"):
        read(_put(tmp_path, text))


def test_captions_of_videos_are_read_or_refused(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "a.txt").write_bytes("été\r\n".encode(encoding))
        assert caption_of(tmp_path / "a.mp4", tmp_path) == "été"
    (tmp_path / "a.txt").write_bytes("été".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.txt, line 1: byte 0xe9"):
        caption_of(tmp_path / "a.mp4", tmp_path)
    assert caption_of(tmp_path / "none" / "a.mp4", tmp_path) == ""


@pytest.mark.parametrize(
    ("video", "text"),
    [
        ("\u00e9t\u00e9.mp4", "e\u0301te\u0301.txt"),
        ("e\u0301.mp4", "\u00e9.TXT"),
        ("A.MP4", "A.Txt"),
    ],
)
def test_a_caption_is_found_however_its_name_is_spelt(
    tmp_path: Path, video: str, text: str
) -> None:
    """As in folders that went over macOS, which splits accents."""
    assert caption_of(tmp_path / video, tmp_path) == ""
    _put(tmp_path, "a fox", text)
    assert caption_of(tmp_path / video, tmp_path) == "a fox"
    assert caption_of(tmp_path / "other.mp4", tmp_path) == ""


TABLES = {
    "metadata.csv": 'file_name,fps,text\na.mp4,8,"a fox, red"\nin/b.mp4,8,a hen\n',
    "metadata.tsv": "prompt\tvideo\na fox, red\ta.mp4\na hen\tin\\b.mp4\n",
    "metadata.jsonl": '{"video_path": "./a.mp4", "caption": "a fox, red"}\n{"n": 1}\n'
    '{"video_path": "in/b.mp4", "caption": "a hen"}\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_a_caption_is_the_row_of_a_table(name: str, tmp_path: Path) -> None:
    """As folders of videos are published; a file beside it, or a nearer table, comes first."""
    _put(tmp_path, TABLES[name], name)
    (tmp_path / "in").mkdir()
    videos = [tmp_path / "a.mp4", tmp_path / "in" / "b.mp4", tmp_path / "in" / "a.mp4"]
    assert [caption_of(one, tmp_path) for one in videos] == ["a fox, red", "a hen", ""]
    assert caption_of(videos[1], tmp_path / "in") == "", "tables above are not looked for"
    _put(tmp_path / "in", "file_name,text\nb.mp4,a cock", "metadata.csv")
    assert caption_of(videos[1], tmp_path) == "a cock"
    _put(tmp_path, "a dog", "a.txt")
    assert caption_of(videos[0], tmp_path) == "a dog"


def test_a_table_tells_what_a_measured_video_was_to_show(tmp_path: Path) -> None:
    _put(tmp_path, "file_name,text\nin/b.mp4,a hen", "metadata.csv")
    for name in ("a.mp4", "in/b.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [one.text for one in list_videos(str(tmp_path))] == ["a", "a hen"]


def test_a_table_that_tells_something_else_is_no_table_of_captions(tmp_path: Path) -> None:
    _put(tmp_path, "name;licence\na.mp4;CC0;extra", "metadata.csv")
    assert caption_of(tmp_path / "a.mp4", tmp_path) == ""
    _put(tmp_path, '{"text": "a fox"}\n{"text": "a hen"}', "metadata.jsonl")
    _put(tmp_path, "file_name,text\n,a fox\n,a hen\na.mp4,\na.mp4,a cock", "metadata.csv")
    assert caption_of(tmp_path / "b.mp4", tmp_path) == ""
    assert caption_of(tmp_path / "a.mp4", tmp_path) == "a cock"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("file_name,text\na.mp4,a fox\n./a.mp4,a hen", "line 3: ./a.mp4 has another text above"),
        ("file_name,text\na.mp4,a fox, red", "line 2: it has 3 cells"),
        ("file_name,text\na.mp4,a \0 fox", "NUL|binary"),
    ],
)
def test_a_table_of_captions_is_read_or_refused(table: str, told: str, tmp_path: Path) -> None:
    _put(tmp_path, table, "metadata.csv")
    with pytest.raises(ValueError, match=rf"metadata\.csv.*({told})"):
        caption_of(tmp_path / "a.mp4", tmp_path)


def test_videos_without_captions_are_told() -> None:
    """To who trains a network that reads text, before the first step."""
    assert uncaptioned({"a.mp4": "a fox"}) == ""
    told = uncaptioned({"a.mp4": "a fox", **{f"{i}.mp4": "" for i in range(5)}})
    assert told.startswith("5 of 6 videos have no caption")
    assert "0.mp4, 1.mp4, 2.mp4, ...; a caption is the text of the .txt" in told
    for dim, first, count in ((16, True, 1), (16, False, 0), (None, True, 0)):
        data = SimpleNamespace(uncaptioned=told)
        trainer = SimpleNamespace(datamodule=data, is_global_zero=first, precision="32-true")
        module: Any = SimpleNamespace(
            trainer=trainer, text=SimpleNamespace(dim=dim), outside=[], sharded=True
        )
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            VideoModule.on_fit_start(module)
        assert [str(one.message) for one in seen] == [told] * count


@pytest.mark.parametrize("kind", ["object", "table"])
def test_a_name_that_comes_twice_among_many_is_found_at_once(tmp_path: Path, kind: str) -> None:
    names = [*(f"a{number}" for number in range(50_000)), "z", "z"]
    made = "{" + ", ".join(f'"{name}": 1' for name in names) + "}"
    path = _put(tmp_path, made if kind == "object" else ",".join(names))
    began = time.process_time()
    with pytest.raises(ValueError, match="'z' comes twice"):
        read_json_file(path) if kind == "object" else table_of(path)
    assert time.process_time() - began < 5  # each name once; each with all others takes a minute
