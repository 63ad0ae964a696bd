"""What a person types: texts and paths arrive as typed, mistakes are told before any work."""

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from commands import give
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object
from omegaconf import OmegaConf
from test_configs import CONFIGS, FILES, targets

from cf.settings import command_line
from cf.settings.build import build, escaped
from cf.settings.command_line import prepared
from cf.settings.hints import Form, Within, fault, hints_of
from cf.settings.kinds import Device
from cf.settings.literal import PATHS, PLACES, TEXTS, literal, quoted, with_home
from cf.settings.schema import COMMANDS

Command = Callable[..., str]
SAID = (
    "一只红色的狐狸",
    "it's",
    "a, b, and {c: d} [e]",
    "100% #1",
    "a fox 🦊",
    "a = b",
    "two\nlines",
    'he said "no"',
    "back\\slash\\",
    "\\${seed} and ${seed} and ${",
    "42",
    "true",
    "null",
    "",
    "'twas 'ere",
    "choice(a,b)",
    "~ a tilde",
)
PLACES_NAMED = (
    "a=b&c (1)[1]",
    "été",
    "checkpoints/step=0009.ckpt",
    "it's, here",
    "[1] clip.mp4",
    "a b",
    "${now:x}",
    "2024",
)


def values(command: str, *arguments: str) -> list[Any]:
    """What each setting that is given is in the end."""
    given = [literal(one) for one in arguments]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        cfg = compose(command, given, return_hydra_config=True)
    chosen = [OmegaConf.select(cfg, one.partition("=")[0]) for one in arguments]
    return [OmegaConf.to_container(one) if OmegaConf.is_config(one) else one for one in chosen]


def value(command: str, argument: str) -> Any:
    """What a setting is in the end."""
    return values(command, argument)[0]


@pytest.mark.parametrize("text", SAID)
def test_a_text_arrives_as_it_was_typed(text: str) -> None:
    assert value("generate", f"prompt={text}") == text
    assert value("generate", f"prompt={quoted(text)}") == text
    again = literal(f"prompt={quoted(text)}")
    assert again == f"prompt={quoted(text)}"  # a command that gives it on changes nothing


@pytest.mark.parametrize("path", PLACES_NAMED)
def test_a_path_arrives_as_it_was_typed(path: str) -> None:
    assert value("generate", f"checkpoint={path}") == path
    fit = ["data.folder", "start.student.path", *["hydra.run.dir"] * ("$" not in path)]
    assert set(values("fit", *(f"{name}={path}" for name in fit))) == {path}
    named = value("benchmark", f"networks={{mine: {quoted(path)}, other: [x (1),y]}}")
    assert named == {"mine": path.replace("${", r"\${"), "other": ["x (1)", "y"]}


def test_lists_and_mappings_of_paths_are_read_as_before() -> None:
    listed = "videos=[a.mp4, b (1).mp4,'c, d.mp4',it's.mp4]"
    assert value("evaluate", listed) == ["a.mp4", "b (1).mp4", "c, d.mp4", "it's.mp4"]
    mapped = value("evaluate", "videos={ours: a=b, 'their own': \"c,d\"}")
    assert mapped == {"ours": "a=b", "their own": "c,d"}
    assert value("evaluate", "videos=null") is None
    with pytest.raises(ValueError, match="between commas"):
        literal("videos=[a,,b]")
    with pytest.raises(ValueError, match="several lists"):
        literal("videos=[a],[b]")
    with pytest.raises(ValueError, match="English letters"):
        literal("networks={été: a}")


def test_a_folder_whose_name_looks_like_a_list_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert value("evaluate", "videos=[1]") == ["1"]
    (tmp_path / "[1]").mkdir()
    assert value("evaluate", "videos=[1]") == "[1]"


def test_a_comma_makes_a_sweep_only_between_quoted_texts() -> None:
    def read(argument: str) -> list[str]:
        parsed = OverridesParser.create().parse_override(literal(argument, multirun=True))
        if not parsed.is_sweep_override():
            return [str(parsed.value())]
        return [getattr(one, "text", one) for one in parsed.sweep_iterator()]

    assert read("prompt=a fox, a hen") == ["a fox, a hen"]
    assert read("prompt='a fox','it\\'s, a hen'") == ["a fox", "it's, a hen"]
    assert read("checkpoint=choice(a (1),b)") == ["a (1)", "b"]
    assert read("memory=full,sliding") == ["full", "sliding"]


@pytest.mark.parametrize(
    ("typed", "acts"),
    [
        ("[[0,a fox],[10,it jumps]]", [[0, "a fox"], [10, "it jumps"]]),
        ('[[0, it\'s, well], [2.5, 狐狸 [x] "no"]]', [[0, "it's, well"], [2.5, '狐狸 [x] "no"']]),
        ("[[0,'a, b'],[1,\"c\"]]", [[0, "a, b"], [1, "c"]]),
    ],
)
def test_prompts_that_switch_need_no_quotes(typed: str, acts: list[Any]) -> None:
    assert value("generate", f"prompts={typed}") == acts


@pytest.mark.parametrize(
    "typed", ["[[0,a],[5]]", "[[0,a][5,b]]", "[[0,a],[0x5,b]]", "[[0,a],[1e400,b],[c]]"]
)
def test_what_may_be_one_text_or_several_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="is one text or several; write each text"):
        literal(f"prompts={typed}")


@pytest.mark.parametrize("typed", ["(48,32)", "[48;32]", "[48,32,]", "\uff14\uff18"])
def test_a_size_that_cannot_be_read_is_told_how_it_is_written(typed: str) -> None:
    with pytest.raises(ValueError, match=r"size must be height and width in pixels"):
        prepared([f"size={typed}"], "generate")


def test_paths_of_a_sweep_need_no_quotes_where_each_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comma stays a path's own where the whole is there, where a part is not, and without -m."""
    monkeypatch.chdir(tmp_path)
    for one in ("a", "b", "c,d", "c"):
        (tmp_path / one).mkdir()
    key = "sampling.guide"
    assert literal(f"{key}=own,a,null", multirun=True) == f"{key}=own,'a',null"
    assert literal(f"{key}=a, shipped:base", multirun=True) == f"{key}='a','shipped:base'"
    assert literal("videos=[a,b],[c]", multirun=True) == "videos=['a','b'],['c']"
    for text in ("c,d", "a,nowhere", "own,nowhere"):
        assert literal(f"{key}={text}", multirun=True) == f"{key}='{text}'"
    assert literal(f"{key}=own,a") == f"{key}='own,a'"
    assert literal("prompt=a,b", multirun=True) == "prompt='a,b'"


def test_a_tilde_opens_in_every_path_and_in_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert value("generate", "prompt=~/a") == "~/a"
    assert value("generate", "checkpoint=~/a") == "/home/me/a"
    assert value("evaluate", "videos=[~/a,'~/b']") == ["/home/me/a", "/home/me/b"]
    assert literal("hydra.run.dir=~/a") == "hydra.run.dir='/home/me/a'"
    written = {"contestants": {"mine": {"checkpoint": ["~/a"], "note": "~/a"}}}
    opens = with_home(written)["contestants"]["mine"]
    assert opens == {"checkpoint": ["/home/me/a"], "note": "~/a"}


def test_a_text_survives_the_file_of_settings_and_the_objects_made_of_it() -> None:
    for text in SAID:
        read = OmegaConf.create(OmegaConf.to_yaml(OmegaConf.create(escaped({"a": [text]}))))
        assert OmegaConf.to_container(read, resolve=True) == {"a": [text]}
        chosen = {
            "_target_": "cf.bench.contestants.imported.Imported",
            "folder": text,
            "note": "${seed}",
        }
        assert (build(chosen, "it").folder, build(chosen, "it").note) == (text, "${seed}")


def annotated() -> Iterator[str]:
    """The settings of cf's classes that are texts, and where a file of settings has them."""
    for file in FILES:
        for where, node in targets(OmegaConf.load(file)):
            target = get_object(node["_target_"])
            if not target.__module__.startswith("cf."):
                continue
            hints = hints_of(target)
            for name in {*hints} & {*inspect.signature(target).parameters}:
                alternatives = [hints[name], *typing.get_args(hints[name])]
                if typing.get_origin(hints[name]) is dict:
                    continue
                if any(one in (str, Path) for one in alternatives):
                    group = file.relative_to(CONFIGS).parts[0].removesuffix(".yaml")
                    place = {"contestant": "contestants.x", "suite": "", "study": ""}.get(
                        group, group
                    )
                    yield ".".join(one for one in (place, where, name) if one)


CHOSEN = {"texts", "scene", "device", "dtype", "name", "flow", "interpolator", "of", "measure"}
CHOSEN |= {"target_modules"}
"""Of few values, so that a sweep goes over them, or given by the program."""


def test_every_setting_that_is_a_text_or_a_path_is_known_as_one() -> None:
    known = (*TEXTS, *PATHS)
    missed = {
        name
        for name in (re.sub(r"^metric\.", "metrics.any.", one) for one in annotated())
        if name.split(".")[-1] not in CHOSEN
        and not any(fnmatchcase(name, pattern) for pattern in known)
    }
    assert missed == set()
    for schema in COMMANDS.values():
        for name, hint in typing.get_type_hints(schema, include_extras=True).items():
            if {str, Path} & leaves(hint):
                lists = name in {"headline", "unranked", "only", "not_shown", "memories"}
                lists |= name in {
                    "fit",
                    "recall",
                    "phases",
                    "scales",
                    "benchmark",
                    "beside",
                } or "dict[" in str(hint)
                assert lists or name in (*TEXTS, *PATHS, *PLACES), name


def leaves(hint: Any) -> set[Any]:
    """The plain types in an annotation."""
    args = [] if typing.get_origin(hint) is typing.Literal else typing.get_args(hint)
    if typing.get_origin(hint) is typing.Annotated:
        args = args[:1]
    return {hint, *(leaf for one in args for leaf in leaves(one))}


GROUPS = {"asked", "contestants", "durations", "gates", "memories", "world"}
"""Settings that options of groups alone write."""


@pytest.mark.parametrize("command", COMMANDS)
def test_the_schema_has_the_settings_that_the_command_has(command: str) -> None:
    written = set(OmegaConf.load(CONFIGS / f"{command}.yaml")) - {"defaults", "hydra"}
    fields = set(typing.get_type_hints(COMMANDS[command]))
    assert written <= fields
    assert fields - written <= GROUPS


WRONG = [
    ("generate", "size=64", "height and width"),
    ("generate", "size=[0,0]", "got [0, 0]"),
    ("generate", "size=[1,2,3]", "got [1, 2, 3]"),
    ("generate", "prompts=5", "[[seconds,text], ...]"),
    ("generate", "prompts=[[0,a],[0,b]]", "rising seconds"),
    ("generate", "seed=abc", "whole number"),
    ("generate", "fps=fast", "number above 0"),
    ("generate", "fps=100000", "to 1000"),
    ("generate", "seconds=inf", "got inf"),
    ("generate", "seconds=nan", "got nan"),
    ("generate", "seconds=-1", "got -1"),
    ("generate", "samples=1.5", "whole number"),
    ("generate", "given_seconds=-1", "got -1"),
    ("generate", "device=tpu", "there are auto, cpu"),
    ("generate", "device=gpu", "there are auto, cpu"),
    ("generate", "device=cuda:99", "there are auto, cpu"),
    ("generate", "dtype=float7", "bfloat16"),
    ("generate", "sampling.sampler=best", "renoise"),
    ("generate", "sampel=1", "did you mean samples"),
    ("generate", "+sampel=1", "did you mean samples"),
    ("generate", "memory=slow_fsat", "did you mean slow_fast"),
    ("generate", "guidance=2", "did you mean sampling.guidance?"),
    ("generate", "guide=own", "did you mean sampling.guide?; guide is a setting of cf.fit"),
    ("generate", "+guide=own_block", "did you mean sampling.guide?; guide is a setting of cf.fit"),
    ("generate", "sampling.guidance=2 sampling.guide=self", "it takes the word own too"),
    ("play", "start=ode", "start is a setting of cf.fit"),
    ("benchmark", "sampling.guide=own", "there are contestants, metrics, extractor"),
    ("benchmark", "contestants.a.sampling={}", "there are contestants.truth, contestants.copy_l"),
    ("generate", "sampling.num_stps=2 sampling.gide=own", "did you mean sampling.num_steps"),
    ("generate", "foo", "name=value"),
    ("generate", "=", "name=value"),
    ("generate", "a=b=c", "no setting 'a'"),
    ("generate", "seed=1,2", "-m"),
    ("generate", "--helpp", "--help"),
    ("generate", "prompt=\udcff", "UTF-8"),
    ("generate", "video=nowhere.mp4", "nowhere.mp4"),
    ("generate", "video=.", "a folder"),
    ("generate", "image=/dev/null", "/dev/null"),
    ("evaluate", "videos=a seconds=0", "above 0"),
    ("evaluate", "videos={a:[1,2]}", "videos"),
    ("benchmark", "durations=6", "[10,30]"),
    ("benchmark", "networks=[a,b]", "{mine: RUN}"),
    ("benchmark", "networks={a:{b:c}}", "contestants.NAME.checkpoint=RUN"),
    ("benchmark", "workers=-1", "got -1"),
    ("benchmark", "chunk_frames=0", "got 0"),
    ("benchmark", "unequal=maybe", "refuse, show"),
    ("benchmark", "devices=[cpu,tpu]", "tpu"),
    ("recall", "students={a: nowhere}", "nowhere"),
    ("recall", "oracle=. given=500", "less than"),
    ("memory_map", "memories=5", "memories"),
    ("memory_map", "story.frames=0", "story.frames"),
    ("demo", "seed=-1", "got -1"),
    ("demo", "videos=nowhere", "nowhere"),
    ("fit", "resume=nowhere", "not the folder of a run"),
    ("fit", "data.folder=. data.fsp=3", "did you mean data.fps"),
    ("fit", "data.folder=. seed=1.5", "whole number"),
]


@pytest.mark.parametrize(("command", "typed", "named"), WRONG)
def test_a_mistake_is_told_before_anything_is_made(
    command: str, typed: str, named: str, refused: Command, tmp_path: Path
) -> None:
    base = {"generate": ["checkpoint=."], "benchmark": ["suite=smoke"]}.get(command, [])
    told = refused(f"cf.{command}", *base, *typed.split(" "))
    assert named in told
    assert told.strip().count("\n") == 0
    assert not any(tmp_path.iterdir())


def test_a_mistake_that_is_found_late_leaves_no_folder(refused: Command, tmp_path: Path) -> None:
    assert "nowhere is neither" in refused("cf.evaluate", "videos=nowhere")
    assert not any(tmp_path.iterdir())


def test_a_refused_command_leaves_a_folder_of_something_else_as_it_was(
    refused: Command, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("- 1\n")
    assert "config.yaml" in refused("cf.fit", f"resume={tmp_path}")
    assert [one.name for one in tmp_path.iterdir()] == ["config.yaml"]


def test_a_path_that_was_typed_must_be_there(refused: Command, tmp_path: Path) -> None:
    theirs = ("+contestant@contestants.x=imported", "contestants.x.folder=nowhere")
    assert "contestants.x.folder: " in refused("cf.benchmark", "suite=smoke", *theirs)
    mine = ("+contestant@contestants.x=trained", "contestants.x.checkpoint=/")
    guided = "+contestants.x.sampling={guide: nowhere, guidance: 2}"
    told = refused("cf.benchmark", "suite=smoke", *mine, guided)
    assert "contestants.x: x: sampling.guide: nowhere" in told
    assert not any(tmp_path.iterdir())


def test_a_sweep_is_checked_before_its_first_run(refused: Command, tmp_path: Path) -> None:
    assert "got 'x'" in refused("cf.generate", "checkpoint=.", "-m", "seed=1,x")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["-m", "seed=0,1", "hydra.run.dir=a"], "by several runs (-m); give hydra.sweep.dir=..."),
        (["hydra.sweep.dir=a"], "hydra.sweep.dir is not read by one run"),
    ],
)
def test_a_folder_that_is_not_read_is_refused(
    typed: list[str], told: str, refused: Command, tmp_path: Path
) -> None:
    assert told in refused("cf.generate", "checkpoint=.", *typed)
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_named_after_a_choice_can_be_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepared(["suite=smoke"], "benchmark") == ["suite=smoke"]
    assert not any(tmp_path.iterdir())


def test_flags_may_stand_anywhere_and_number_formats_have_short_names() -> None:
    made = prepared(["story.frames=5", "--cfg", "job", "num_steps=2"], "memory_map")
    assert made == ["--cfg", "job", "story.frames=5", "num_steps=2"]
    assert literal("dtype=bf16") == "dtype=bfloat16"
    assert literal("dtype=FP16") == literal("dtype=torch.half") == "dtype=float16"


def test_bounds_and_forms_are_told() -> None:
    hint = typing.Annotated[float, Within(above=0, most=2)]
    assert [fault(value, hint) for value in (1, 2.0)] == ["", ""]
    assert all(fault(value, hint) for value in (0, 2.1, float("nan"), "1", True, None))
    assert fault([1], tuple[int, int])
    assert fault({"a": "b"}, dict[str, int])
    assert fault(1, typing.Annotated[str, Form("a word")]) == "a word"
    assert fault("cpu", Device) == ""


def test_command_line_needs_no_torch_to_tell_a_mistake() -> None:
    assert "torch" not in vars(command_line)


def test_a_prompt_reaches_the_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Any] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cf.generation.walk.follows_camera", lambda _: False)
    monkeypatch.setattr("cf.generate.generate", lambda given, folder: seen.append(given["prompt"]))
    give("cf.generate", "checkpoint=.", "prompt=it's ${seed}, 100% #1", "hydra.run.dir=a (1)=b")
    assert seen == ["it's ${seed}, 100% #1"]
    assert (tmp_path / "a (1)=b").is_dir()


def test_a_field_is_annotated_in_the_words_of_the_module_that_declares_it() -> None:
    """A plug-in that extends a class of ours need not import what ours imports."""
    mine = types.ModuleType("mine")
    code = (
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from cf.bench.tasks.worlds import Worlds\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Worlds):\n"
        "    more: int = 1\n"
    )
    sys.modules["mine"] = mine
    try:
        exec(code, mine.__dict__)
        hints = hints_of(mine.Mine)
    finally:
        del sys.modules["mine"]
    assert hints["data"].__name__ == "WorldData"
    assert hints["more"] is int
