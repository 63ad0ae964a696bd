"""Prompt lists of every kind: each prompt is taken as it stands, or refused by file and line."""

import json
from pathlib import Path
from typing import Any

import pytest

from cf.bench.tasks.prompts import Prompts
from cf.data.captions import caption_of
from cf.data.prompt_list import prompts_of
from cf.data.script import script_of
from cf.files.naming import number_of
from cf.settings.making import with_network

SPECIAL = [
    "42",
    "true",
    "null",
    "1.50",
    "#1 fan, cheering; 100 %",
    'it\'s "quoted" = {x} [y] \\',
    "一只红色的狐狸 🦊",
    "a / b",
    "a b",
    "x" * 300 + " one",
    "x" * 300 + " two",
    "A red fox",
    "a red fox",
]


def _put(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _scripts(path: Path) -> dict[str, Any]:
    return {one.name: one.script for one in prompts_of(path)}


def _texts(path: Path) -> list[str]:
    return [script[0][1] for script in _scripts(path).values()]


def test_every_kind_of_list_gives_the_same_texts_and_distinct_names(tmp_path: Path) -> None:
    quoted = ['"' + one.replace('"', '""') + '"' for one in SPECIAL]
    lists = {
        "a.txt": "\n".join(f" {one}  \r\n" for one in SPECIAL),
        "a.csv": "prompt\n" + "\n".join(quoted),
        "a.tsv": "seed\tprompt\n" + "\n".join(f"1\t{one}" for one in quoted),
        "a.json": json.dumps(SPECIAL),
        "a.jsonl": "\n\n".join(json.dumps({"text": one}) for one in SPECIAL),
        "a.YAML": "\n".join(f"- {json.dumps(one, ensure_ascii=False)}" for one in SPECIAL),
    }
    for name, text in lists.items():
        path = _put(tmp_path, name, text)
        assert _texts(path) == SPECIAL, name
        names = list(_scripts(path))
        assert len({one.casefold() for one in names}) == len(SPECIAL)
        assert all("/" not in one and len(one.encode()) < 100 for one in names)
    assert {"42", "null", "a-red-fox"} < set(names)
    assert any(one.startswith("a-red-fox-") for one in names)  # who has capitals


def test_words_without_quotes_are_texts(tmp_path: Path) -> None:
    assert _texts(_put(tmp_path, "a.json", "[42, 1.50, true]")) == ["42", "1.50", "true"]
    assert _texts(_put(tmp_path, "a.yaml", "- 42\n- yes\n- 2024-01-02")) == [
        "42",
        "yes",
        "2024-01-02",
    ]
    assert list(_scripts(_put(tmp_path, "b.json", '[{"prompt_id": 0, "text": "x"}]'))) == ["0"]


def test_what_looks_like_another_kind_may_be_texts(tmp_path: Path) -> None:
    for text in ('{"camera": "pan"}\n{"camera": "tilt"}', "text, blurry\na fox", "[a fox]\n[b]"):
        assert _texts(_put(tmp_path, "a.txt", text)) == text.split("\n")
    assert _texts(_put(tmp_path, "a.txt", "prompt")) == ["prompt"]


def test_composed_and_split_accents_are_one_text(tmp_path: Path) -> None:
    assert _texts(_put(tmp_path, "a.txt", "e\u0301te\u0301\n\u00e9t\u00e9")) == ["\u00e9t\u00e9"]


@pytest.mark.parametrize("around", ["\u200b", "\ufeff", "\u2060 ", "\u3000", "\n", ""])
def test_a_text_is_one_text_wherever_it_is_given(tmp_path: Path, around: str) -> None:
    """In a list, as a caption, in a script and at the command: one video, and one name for it."""
    given = f"{around}e\u0301te\u0301 \U0001f469\u200d\U0001f467{around}"
    text = "\u00e9t\u00e9 \U0001f469\u200d\U0001f467"
    assert _texts(_put(tmp_path, "a.json", json.dumps([given]))) == [text]
    _put(tmp_path, "a.txt", given)
    assert caption_of(tmp_path / "a.mp4", tmp_path) == text
    assert script_of([[0, given]], "prompts") == ((0.0, text),)
    assert with_network({"prompt": given, "checkpoint": "x"})["prompt"] == text


@pytest.mark.parametrize("unseen", ["\u200b", "\u202e\u202c", "\ufeff \u00ad", "\x07"])
def test_what_nobody_sees_is_no_text(tmp_path: Path, unseen: str) -> None:
    with pytest.raises(ValueError, match=r"a\.json, entry 2: the text is empty"):
        _texts(_put(tmp_path, "a.json", json.dumps(["a fox", unseen])))
    assert with_network({"prompt": unseen, "checkpoint": "x"})["prompt"] == ""
    for broken in ("a \0 fox", "\0"):
        with pytest.raises(ValueError, match="holds a NUL character"):
            _texts(_put(tmp_path, "a.json", json.dumps([broken])))


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c"])
def test_an_end_of_a_line_for_some_is_told(tmp_path: Path, end: str) -> None:
    """Whether that is one prompt or two, nobody knows; in JSON and in quotes it is one."""
    place = f"a\\.txt, line 2: it holds U\\+{ord(end):04X}.*; put a line feed or a space there"
    with pytest.raises(ValueError, match=place):
        _texts(_put(tmp_path, "a.txt", f"one\na fox{end}a dog\n"))
    assert _texts(_put(tmp_path, "a.jsonl", json.dumps(f"a fox{end}a dog"))) == [f"a fox{end}a dog"]


def test_what_a_list_says_of_how_to_make_a_video_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = "prompt,seed,negative_prompt,fps\na fox,7,,\na dog,8,ugly,\n"
    assert _texts(_put(tmp_path, "a.csv", table)) == ["a fox", "a dog"]
    assert "a.csv: not read of it, since settings say it: seed, negative_prompt" in caplog.text
    caplog.clear()
    _texts(_put(tmp_path, "b.csv", "prompt,category\na fox,animals\n"))
    assert not caplog.text


def test_a_text_may_go_over_lines(tmp_path: Path) -> None:
    assert _texts(_put(tmp_path, "a.csv", 'prompt\n"one\ntwo"\nthree')) == ["one\ntwo", "three"]


def test_numbers_of_texts_stay_what_they_were(tmp_path: Path) -> None:
    (item,) = Prompts(str(_put(tmp_path, "a.txt", "a red fox"))).items()
    assert (item.key, item.prompt) == ("a-red-fox-0", "a-red-fox")
    assert item.prompt_id == number_of("pf742d0993d9")
    assert item.video_id == number_of("pf742d0993d9-0")
    assert item.by(2).video_id == number_of("pf742d0993d9-0+2")
    (named,) = Prompts(str(_put(tmp_path, "b.csv", "prompt_id,text\nfox,a red fox"))).items()
    assert (named.prompt_id, named.video_id) == (number_of("fox"), number_of("fox-0"))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": null}', "line 2: text: the text is null"),
        ("a.jsonl", '{"text": "a"}\n\n["a"', "line 3"),
        ("a.jsonl", '{"txt": "a"}', "line 1: it has none of text.*it has txt"),
        ("a.json", '{"prompts": ["a"]}', "a list of prompts at its top, and holds a mapping"),
        ("a.json", '["a", null]', "entry 2: the text is null"),
        ("a.json", '[["a"]]', "entry 1: the text is"),
        ("a.csv", "prompt_id,prompt\nx,one\ny,two\nx,three", "line 4: two prompts.*line 2"),
        ("a.csv", "prompt_id,prompt\nFox,one\nfox,two", "'Fox'.*'fox'; case does not count"),
        ("a.csv", "prompt_id,prompt\n.partial-a,one", "line 2: prompt_id '.partial-a' must name"),
        ("a.csv", "prompt_id,prompt\na/b,one", "line 2: prompt_id 'a/b' must name"),
        ("a.csv", "prompt_id,prompt\nx,", "line 2: prompt: the text is empty"),
        ("a.csv", "note\nx", "first line names no column .*it is .note"),
        ("a.csv", 'prompt\n"one', "from line 2"),
        ("a.jsonl", '{"segments": [[0, "a"], [0, "b"]]}', "line 1: segments .*rising"),
        ("a.jsonl", '{"segments": [[1, "a"]]}', "line 1: segments .*begin at 0"),
        ("a.jsonl", '{"segments": [[0, "a"], [NaN, "b"]]}', "number of seconds from 0"),
        ("a.jsonl", '{"segments": [[0, "a"], [5, null]]}', "the text is null"),
        ("a.jsonl", '{"segments": "often"}', r"must be \[\[seconds, text\]"),
        ("a.jsonl", '{"segments": [[0]]}', r"must be \[\[seconds, text\]"),
        ("a.json", '["\\ud83d"]', "entry 1: .*half a character"),
        ("a.txt", "\n \n", "holds no prompt"),
        ("a.txt", '{"prompt": "a"}\n{"text": "b"}', "an object a line; name it .jsonl"),
        ("a.txt", '["a",\n "b"]', "a list in JSON; name it .json,"),
        ("a.txt", "prompt_id,prompt\nx,a fox", "columns of a table; name it .csv"),
        ("a.txt", "Prompt\na fox", "columns of a table; name it .csv, or take that line out"),
        ("a.txt", "seed\ttext\tprompt_en\n1\ta\tb", "columns of a table; name it .tsv"),
        ("a.txt", b"ok\n\xe9t\xe9", "line 2: byte 0xe9"),
        ("a.txt", b"\0\0\0\x20ftypisom", "is an MP4"),
        ("a.mp4", b"\0\0\0\x20ftypisom", "must be one of .json"),
        ("a.yaml", "- a\n- [b", "line"),
    ],
)
def test_what_is_no_list_names_file_and_line(
    tmp_path: Path, name: str, text: str | bytes, told: str
) -> None:
    with pytest.raises(ValueError, match=rf"(?s){name}.*{told}"):
        _scripts(_put(tmp_path, name, text))


def test_a_text_of_a_million_accents_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("e" + "\u0301\u0316" * 500_000)
    with pytest.raises(ValueError, match=r"list.txt, line 1: the text has 1,000,001 characters"):
        _scripts(path)
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"prompt_id": "x" * 10**6, "text": "b"}))
    with pytest.raises(ValueError, match="line 1: prompt_id 'xxx") as told:
        _scripts(path)
    assert len(str(told.value)) < 500


def test_what_is_asked_of_a_list_is_checked(tmp_path: Path) -> None:
    path = str(_put(tmp_path, "a.txt", "a"))
    for settings, told in (
        ({"seeds": [1, 1]}, "each once"),
        ({"seeds": []}, "at least one"),
        ({"fps": 8.0}, "give both"),
        ({"fps": 8.0, "size": [0, 8]}, "above 0"),
    ):
        with pytest.raises(ValueError, match=told):
            Prompts(path, **settings)  # type: ignore[arg-type]


def test_published_lists_are_read_whole(shared: Path) -> None:
    folder = shared / "prompts"
    lists = [_scripts(folder / n) for n in ("vbench_all_dimension.txt", "VBench_full_info.json")]
    assert lists[0] == lists[1]
    assert len(lists[0]) > 900


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "Prompt,Prompt ID\na fox,one\n"),
        ("a.csv", "PROMPT;PROMPT_ID\na fox;one\n"),
        ("a.tsv", "caption\tprompt-id\na fox\tone\n"),
        ("a.jsonl", '{"Caption": "a fox", "Prompt_ID": "one"}\n'),
        ("a.json", '[{"Text": "a fox", "PROMPT_ID": "one"}]'),
        ("a.yaml", "- Prompt: a fox\n  Prompt_id: one\n"),
    ],
)
def test_columns_and_keys_may_have_capitals(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert _scripts(tmp_path / name) == {"one": ((0.0, "a fox"),)}


def test_a_table_without_a_heading_is_told_by_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a red fox\na blue hen\n")
    with pytest.raises(ValueError, match=r"first line names no column .*; it is 'a red fox'"):
        _scripts(tmp_path / "a.csv")


def test_prompts_that_a_list_has_twice_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Published lists have some: VBench's 946 are 944."""
    caplog.set_level("INFO", "cf")
    assert _texts(_put(tmp_path, "a.txt", "a fox\na hen\na fox")) == ["a fox", "a hen"]
    assert "a.txt: 3 entries, 2 of them different" in caplog.text
    caplog.clear()
    _texts(_put(tmp_path, "a.txt", "a fox\na hen"))
    assert not caplog.text
