"""What a file or a folder carries is vetted: nothing that it names runs, at any depth."""

import copy
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOMS, fit, give
from safetensors.torch import save_file
from tiny import MEMORIES, SIZES

from cf.models.checkpoints import save_export
from cf.models.transformer import VideoTransformer
from cf.paths import CONFIG_DIR
from cf.runs.trusted_run import vet_phases
from cf.settings.trusted import read_vetted_export, vet_export

Refuse = Callable[..., str]
EXPORT: dict[str, Any] = {
    "model": {"_target_": "cf.models.transformer.VideoTransformer", **SIZES, "control_dim": None},
    "codec": {"_target_": "cf.models.codec.PixelCodec"},
    "text": {"_target_": "cf.models.text.NoText"},
    "rollout": {
        "_target_": "cf.rollout.Rollout",
        "block_frames": 3,
        "num_steps": 1,
        "schedule": {"_target_": "cf.schedule.FlowSchedule"},
        "memory": {"_target_": "cf.memory.full.Full"},
    },
    "fps": 8,
    "size": [4, 4],
    "step": 10,
}
CANARY = "canary"
EXPERIMENTS = sorted(Path(CONFIG_DIR, "experiment").glob("*.yaml"))
HOSTILE: list[dict[str, Any]] = [
    {"_target_": "os.system", "command": f"touch {CANARY}"},
    {"_target_": "posix.system", "command": f"touch {CANARY}"},
    {"_target_": "builtins.eval", "source": f"open('{CANARY}', 'w')"},
    {"_target_": "builtins.exec", "source": f"open('{CANARY}', 'w')"},
    {"_target_": "builtins.open", "file": CANARY, "mode": "w"},
    {"_target_": "builtins.getattr", "_args_": ["a", "b"]},
    {"_target_": "builtins.__import__", "name": "antigravity"},
    {"_target_": "subprocess.Popen", "args": ["touch", CANARY]},
    {"_target_": "subprocess.run", "args": ["touch", CANARY]},
    {"_target_": "shutil.copy", "src": "a", "dst": CANARY},
    {"_target_": "numpy.load", "file": "gift.npy", "allow_pickle": True},
    {"_target_": "joblib.load", "filename": "gift.joblib"},
    {"_target_": "pickle.loads", "data": "gift"},
    {"_target_": "torch.load", "f": "gift.pt", "weights_only": False},
    {"_target_": "torch.hub.load", "repo_or_dir": "gift", "model": "gift"},
    {"_target_": "functools.partial", "_args_": ["os.system"]},
    {"_target_": "hydra.utils.instantiate", "config": {"_target_": "os.system"}},
    {"_target_": "hydra.utils.get_method", "path": "os.system"},
    {"_target_": "importlib.import_module", "name": "gift"},
    {"_target_": "pathlib.Path.write_text", "self": CANARY, "data": ""},
    {"_target_": "pandas.read_pickle", "filepath_or_buffer": "gift.pkl"},
    {"_target_": "gift.Class"},
    {"_target_": "cf"},
    {"_target_": "cf.models.weight_files.torch.load", "f": "gift.pt", "weights_only": False},
    {"_target_": "cf.models.checkpoints.os.replace", "src": "a", "dst": CANARY},
    {"_target_": "cf.models.checkpoints.Path.unlink", "self": CANARY},
    {"_target_": "cf.report.page.shutil.copyfile", "src": "a", "dst": CANARY},
    {"_target_": "cf.runs.phases.subprocess.run", "args": ["touch", CANARY]},
    {"_target_": "cf.settings.build.instantiate", "config": {"_target_": "os.system"}},
    {"_target_": "cf.settings.build.build", "settings": {"_target_": "os.system"}, "where": ""},
    {"_target_": "cf.files.atomic.write_text", "path": CANARY, "text": ""},
    {"_target_": "cf.files.atomic.DiskFullError", "path": CANARY},
    {"_target_": "cf.models.start.with_weights", "path": "gift.pt"},
    {"_target_": "cf.models.checkpoints.save_export", "path": CANARY},
    {"_target_": "cf.video.writer.VideoWriter", "path": CANARY, "fps": 8, "size": [4, 4]},
    {"_target_": "cf.data.videos.VideoFolder", "folder": "/"},
    {"_target_": "cf.bench.store.Store", "path": CANARY},
    {"_target_": "cf.callbacks.rescue.Rescue", "dirpath": "."},
    {"_target_": "cf.callbacks.table.MetricsTable", "folder": "."},
    {"_target_": "cf.modules.pretrain.L.Trainer", "default_root_dir": "."},
    {"_target_": "lightning.Trainer", "default_root_dir": "."},
    {"_target_": "lightning.pytorch.loggers.TensorBoardLogger", "save_dir": CANARY},
    {"_target_": "cf.rollout.Rollout.__init__.__globals__"},
    {"_target_": "cf.memory.full.Full.__class__"},
    {"_target_": "cf.memory.full.Full.max_frames.fget"},
    {"_target_": "cf.models.text.UMT5.from_folder.__func__"},
    {"_target_": "cf.memory..full.Full"},
    {"_target_": "cf/memory/full.Full"},
    {"_target_": "cf.memory.full.Full "},
    {"_target_": "cf.memory.base.Memory"},
    {"_target_": ["os.system"]},
    {"_target_": {"_target_": "os.system"}},
    {"_target_": None},
]
FULL = {"_target_": "cf.memory.full.Full"}
ODD: list[dict[str, Any]] = [
    {**FULL, "_args_": [1]},
    {**FULL, "_partial_": True},
    {**FULL, "_convert_": "all"},
    {**FULL, "_recursive_": False},
    {"_target_": "cf.memory.sliding.Sliding", "window_frames": "${oc.env:HOME}"},
    {"_target_": "cf.memory.sliding.Sliding", "window_frames": 10**12},
    {"_target_": "cf.memory.sliding.Sliding", "${oc.env:HOME}": 1},
    {"_target_": "cf.memory.sliding.Sliding", "sink_frames": HOSTILE[0]},
    {**FULL, "note": "x" * 10**6},
    {**FULL, "note": [0] * 10**5},
]


def named(settings: Any) -> str:
    return str(settings.get("_target_", settings))[:60]


def wrapped(memory: Any, depth: int = 1) -> dict[str, Any]:
    for _ in range(depth):
        memory = {"_target_": "cf.memory.quantised.Quantised", "memory": memory}
    return {**EXPORT, "rollout": {**EXPORT["rollout"], "memory": memory}}


@pytest.mark.parametrize("hostile", [*HOSTILE, *ODD], ids=named)
def test_no_hostile_settings_pass(hostile: dict[str, Any]) -> None:
    full = {**FULL, "list": [hostile]}
    for config in (
        *({**EXPORT, part: hostile} for part in ("model", "codec", "text", "rollout")),
        wrapped(hostile, 0),
        wrapped(hostile, 3),
        wrapped(full),
        wrapped([hostile]),
        {**EXPORT, "codec": {**EXPORT["codec"], "any": {"deep": [hostile]}}},
    ):
        with pytest.raises(ValueError, match=r"^the gift"):
            vet_export(config, "the gift")


def test_what_is_not_built_describes_no_object() -> None:
    for hostile in HOSTILE:
        with pytest.raises(ValueError, match=r"^the gift asks for"):
            vet_export({**EXPORT, "more": {"x": [hostile]}}, "the gift")


@pytest.mark.parametrize(
    ("name", "value"),
    [("fps", 0), ("fps", float("inf")), ("fps", "8"), ("fps", True)]
    + [("size", value) for value in ([0, 4], [4], "44", [4, 10**9], [4.0, 4.0])],
)
def test_rate_and_size_are_bounded(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        vet_export({**EXPORT, name: value}, "the gift")


@pytest.mark.parametrize("part", ["model", "codec", "text", "rollout"])
@pytest.mark.parametrize("value", [{"window_frames": 3}, [FULL], "cf.memory.full.Full", None])
def test_a_part_says_what_it_is(part: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^the gift (does not say what its {part} is|asks for)"):
        vet_export({**EXPORT, part: value}, "the gift")


def test_depth_is_bounded() -> None:
    with pytest.raises(ValueError, match="deeper than 32"):
        vet_export(wrapped(FULL, 40), "the gift")


@pytest.mark.parametrize("memory", MEMORIES, ids=lambda path: path.stem)
def test_every_memory_of_cf_passes(memory: Path) -> None:
    from omegaconf import OmegaConf

    vet_export(wrapped(OmegaConf.to_container(OmegaConf.load(memory))), "the export")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[list[str]]:
    """What this process does that hostile settings want done."""
    seen: list[str] = []
    _WATCHES.append(seen)
    yield seen
    _WATCHES.remove(seen)
    assert not (tmp_path / CANARY).exists()


_WATCHES: list[list[str]] = []
_EVENTS = (
    "os.system",
    "subprocess.Popen",
    "pickle.find_class",
    "shutil.copyfile",
    "os.posix_spawn",
)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _EVENTS or (event == "open" and str(arguments[0]).endswith(CANARY)):
        for seen in _WATCHES:
            seen.append(f"{event} {arguments}")


sys.addaudithook(_hook)


def exported(folder: Path, config: dict[str, Any]) -> Path:
    sizes = {name: size for name, size in EXPORT["model"].items() if name != "_target_"}
    save_export(folder / "network.safetensors", VideoTransformer(**sizes).state_dict(), config)
    return folder


READERS = {
    "cf.generate": ("checkpoint=GIFT", "seconds=1", "device=cpu"),
    "cf.recall": ("students={a: GIFT}", "workers=1", "worlds=1", "shown=1"),
    "cf.benchmark": ("networks={a: GIFT}", "suite=smoke", "workers=0"),
}
SENT = [HOSTILE[0], HOSTILE[23], HOSTILE[34], ODD[4]]


@pytest.mark.parametrize(
    ("command", "hostile"),
    [
        pytest.param(
            command,
            hostile,
            id=f"{named(hostile)}-{command}",
            marks=[] if hostile is SENT[0] or command == "cf.generate" else pytest.mark.exhaustive,
        )
        for hostile in SENT
        for command in READERS
    ],
)
def test_no_command_runs_what_an_export_names(
    command: str, hostile: dict[str, Any], tmp_path: Path, refused: Refuse, watched: list[str]
) -> None:
    gift = exported(tmp_path / "gift", {**EXPORT, "codec": hostile})
    arguments = [one.replace("GIFT", str(gift)) for one in READERS[command]]
    told = refused(command, *arguments, f"hydra.run.dir='{tmp_path / 'out'}'")
    assert "network.safetensors" in told
    assert watched == []


def test_a_model_larger_than_its_weights_takes_no_memory(tmp_path: Path) -> None:
    from cf.settings.trusted import vet_size

    _, state = read_vetted_export(exported(tmp_path, EXPORT))
    vet_size(EXPORT["model"], state, "gift")
    began = time.perf_counter()
    for large in ({"dim": 24 * 10**4}, {"num_layers": 10**6}, {"ffn_dim": 10**6}):
        with pytest.raises(ValueError, match="larger model than its weights"):
            vet_size({**EXPORT["model"], **large}, state, "gift")
    assert time.perf_counter() - began < 5


def test_what_the_user_gives_takes_the_place_of_what_the_file_says(tmp_path: Path) -> None:
    gift = exported(tmp_path, {**wrapped(HOSTILE[0]), "codec": HOSTILE[1]})
    config, _ = read_vetted_export(gift, ("memory", "codec"))
    assert config["rollout"]["memory"] is None
    assert "codec" not in config


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a": ' + "9" * 5000 + "}", "[]", "{", "nul"])
def test_settings_that_are_no_settings_are_told(text: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", {"cf": text, "format": "pt"})
    with pytest.raises(ValueError, match="damaged configuration"):
        read_vetted_export(tmp_path / "x.safetensors")


def _run(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The folder of a run that somebody else made."""
    import yaml

    fit(folder, *ROOMS, "trainer.max_steps=2")
    (folder / "summary.json").unlink()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def _exchange(config: dict[str, Any], place: str, value: Any) -> None:
    *above, name = place.split(".")
    for one in above:
        config = config[one]
    config[name] = value


PLACES = ("data", "module.student", "module.optimizer", "callbacks.more", "tensorboard", "trainer")


@pytest.mark.whole
def test_a_run_of_somebody_else_runs_nothing_that_it_names(
    tmp_path: Path, refused: Refuse, watched: list[str]
) -> None:
    """Every place of a run's settings, under hostile objects of every kind."""
    import yaml

    folder = _run(tmp_path / "run", lambda _: None)
    mine = yaml.safe_load((folder / "config.yaml").read_text())
    for i, place in enumerate(PLACES):
        theirs = copy.deepcopy(mine)
        _exchange(theirs, place, HOSTILE[(0, 12, 23, 34, 7, 15)[i]])
        (folder / "config.yaml").write_text(yaml.safe_dump(theirs))
        told = refused("cf.fit", f"resume={folder}")
        assert "add trust=true" in told or "must be" in told, told
    theirs = copy.deepcopy(mine)
    _exchange(theirs, "callbacks.checkpoint.dirpath", str(tmp_path / "elsewhere"))
    (folder / "config.yaml").write_text(yaml.safe_dump(theirs))
    assert "add trust=true" in refused("cf.fit", f"resume={folder}")
    for began in ({"module._target_": "os.system"}, {"module.optimizer": {}}, {"no": 1}, [1]):
        (folder / "config.yaml").write_text(yaml.safe_dump({**mine, "begun_with": began}))
        assert "begun_with is not what a run" in refused("cf.fit", f"resume={folder}")
    assert watched == []
    (folder / "config.yaml").write_text(yaml.safe_dump(mine))
    give("cf.fit", f"resume={folder}")  # one's own goes on by itself
    assert (folder / "summary.json").is_file()


@pytest.mark.parametrize(
    "setting",
    [
        "data._target_=os.system",
        "data={_target_:os.system,command:ls}",
        "+callbacks.x._target_=gift.Class",
        "hydra.searchpath=[file:///gift]",
        "hydra/launcher=gift",
        "data.folder=${oc.env:HOME}",
        "--config-dir=/gift",
        "-m",
        "memory=../../../../gift/evil",
        "memory='../../gift/evil'",
        "+suite/../../gift=evil",
        "model@hydra.job_logging=tiny",
        "+memory@_global_=full",
        "model=tiny,../gift",
        "trust=true",
        "resume=/gift",
        "folder=/gift",
        "callbacks.checkpoint.dirpath=/gift",
        "tensorboard.name=../../gift",
        "data={x:[{_partial_:true}]}",
    ],
)
def test_no_setting_of_a_phase_adds_code(setting: str, tmp_path: Path) -> None:
    for phases, shared in (({"one": ["seed=1", setting]}, []), ({"one": []}, [setting])):
        with pytest.raises(ValueError, match="add trust=true"):
            vet_phases(phases, shared, None, tmp_path / "phases.yaml")


def test_a_phase_stays_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked").symlink_to(tmp_path)
    for name in ("../out", "/out", "..", ".hidden", "linked", ""):
        with pytest.raises(ValueError, match="a phase named"):
            vet_phases({name: []}, [], None, tmp_path / "in" / "phases.yaml")


def test_phases_of_somebody_else_start_nothing(
    tmp_path: Path, refused: Refuse, watched: list[str]
) -> None:
    """An option of a group is a file: one beside the phases is not read."""
    (tmp_path / "evil.yaml").write_text(json.dumps(HOSTILE[0]))
    evil = os.path.relpath(tmp_path / "evil", Path(CONFIG_DIR) / "memory")
    saved = {"phases": {"one": [f"memory={evil}"]}, "shared": [], "config_dir": None}
    (tmp_path / "phases.yaml").write_text(json.dumps(saved))
    assert "add trust=true" in refused("cf.fit", f"resume={tmp_path}")
    saved = {"phases": {"one": []}, "shared": [], "config_dir": "/gift"}
    (tmp_path / "phases.yaml").write_text(json.dumps(saved))
    assert "the settings in /gift" in refused("cf.fit", f"resume={tmp_path}")
    assert watched == []


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_phases_and_runs_of_cf_itself_pass(experiment: Path) -> None:
    from omegaconf import OmegaConf

    whole = OmegaConf.merge(
        {"folder": "/run", "scale": {"name": "tiny"}}, OmegaConf.load(experiment)
    )
    phases = OmegaConf.select(whole, "phases") or {}
    found = [one for part in phases.values() for one in part]
    vet_phases({"one": found}, ["seed=3", "~callbacks.samples"], None, Path("phases.yaml"))
