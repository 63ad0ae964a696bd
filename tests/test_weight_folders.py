"""Files and folders of weights as trainings and downloads leave them: read, or named."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import model
from torch import Tensor

from cf.models.checkpoints import CheckpointError, load_weights
from cf.models.names import to_diffusers_name
from cf.models.start import fingerprint
from cf.settings.checks import present
from cf.video.container import UnreadableVideo
from cf.video.reader import read_image

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    network = model(torch.float32, num_layers=1, control_dim=None)
    return {name: weight.clone() for name, weight in network.state_dict().items()}


def saved(state: State, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    (save_file if file.suffix == ".safetensors" else torch.save)(dict(state), file)
    return file


@pytest.mark.parametrize(
    ("plain", "average"),
    [
        ("transformer/model.safetensors", "transformer_ema/model.safetensors"),
        ("model.safetensors", "model_ema.safetensors"),
        ("diffusion_pytorch_model.safetensors", "ema.pt"),
        ("pytorch_model.bin", "ema_model.pt"),
    ],
)
def test_no_network_is_taken_silently_before_its_average(
    tmp_path: Path, state: State, plain: str, average: str
) -> None:
    """As in one file an average comes first, a folder with both is not the network alone."""
    mean = {name: weight + 1 for name, weight in state.items()}
    for file, held in ((plain, state), (average, mean)):
        names = to_diffusers_name if "transformer" in file else str
        saved({names(name): x for name, x in held.items()}, tmp_path / file)
    with pytest.raises(CheckpointError, match="an average of it; give the one that is meant") as no:
        load_weights(tmp_path)
    first, second = str(no.value).rpartition(", ")[2].split(" or ")
    for path, wanted in ((first, mean), (second, state)):
        read = load_weights(path)
        assert all(torch.equal(read[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    "inner",
    [
        "checkpoint-500/transformer/model.safetensors",
        "snapshots/0a1b/model.safetensors",
        "a/b/c/pytorch_model.bin",
        "step-3/model.pt",
    ],
)
def test_where_weights_lie_deeper_is_said(tmp_path: Path, state: State, inner: str) -> None:
    file = saved(state, tmp_path / "out" / inner)
    (tmp_path / "out" / "empty" / "logs").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=re.escape(f"its folders {Path(inner).parent} do")):
        load_weights(tmp_path / "out")
    assert load_weights(file.parent).keys() == state.keys()


def test_a_distributed_checkpoint_one_level_deeper_is_said(tmp_path: Path, state: State) -> None:
    from torch.distributed.checkpoint import format_utils

    torch.save({"model": state}, tmp_path / "x.pt")
    (tmp_path / "out").mkdir()
    format_utils.torch_save_to_dcp(tmp_path / "x.pt", tmp_path / "out" / "pytorch_model_fsdp_0")
    with pytest.raises(CheckpointError, match="its folders pytorch_model_fsdp_0 do"):
        load_weights(tmp_path / "out")


def test_a_step_of_deepspeed_is_named(tmp_path: Path, state: State) -> None:
    whole = saved({"module": state}, tmp_path / "step" / "mp_rank_00_model_states.pt")
    torch.save({}, tmp_path / "step" / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt")
    with pytest.raises(CheckpointError, match=r"DeepSpeed ZeRO; make one file .*; give the file"):
        load_weights(whole.parent)
    assert load_weights(whole).keys() == state.keys()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_is_read_whatever_its_ending(tmp_path: Path, state: State, legacy: bool) -> None:
    file = tmp_path / "renamed.safetensors"
    torch.save(state, file, _use_new_zipfile_serialization=not legacy)
    read = load_weights(file)
    assert all(torch.equal(read[name], weight) for name, weight in state.items())


@pytest.mark.parametrize("mark", [".aria2", ".st"])
def test_a_download_that_has_not_ended_is_no_file(tmp_path: Path, state: State, mark: str) -> None:
    """Such programs make the whole length first, so that what lacks reads as zeros."""
    file = saved(state, tmp_path / "model.safetensors")
    beside = tmp_path / f"model.safetensors{mark}"
    beside.write_bytes(b"\0")
    for path in (file, tmp_path):
        with pytest.raises(CheckpointError, match=r"not all there: .* start that download again"):
            load_weights(path)
    beside.unlink()
    assert load_weights(file).keys() == load_file(file).keys()
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"\xff\xd8")
    (tmp_path / f"a.jpg{mark}").write_bytes(b"\0")
    with pytest.raises(UnreadableVideo, match="it is not all there"):
        read_image(picture)


@pytest.mark.parametrize("ending", [".incomplete", ".part", ".crdownload", ".partial"])
def test_a_download_under_its_passing_name_is_no_file(
    tmp_path: Path, state: State, ending: str
) -> None:
    """Some write such a file at all places at once, so that its length tells nothing."""
    whole = saved(state, tmp_path / "model.safetensors")
    passing = whole.rename(f"{whole}{ending}")
    for path in (passing, tmp_path):
        with pytest.raises(
            CheckpointError, match=rf"not all there: {ending} says .* start it again"
        ):
            load_weights(path)


def test_shards_are_not_taken_before_a_whole_file_of_their_name(
    tmp_path: Path, state: State
) -> None:
    """One of the two is older; programs differ in which they take."""
    mean = {name: weight + 1 for name, weight in state.items()}
    whole = saved(mean, tmp_path / "model.safetensors")
    saved(state, tmp_path / "model-1.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(state, "model-1.safetensors")}))
    with pytest.raises(CheckpointError, match="shards of a model of that name; give the one") as no:
        load_weights(tmp_path)
    first, second = str(no.value).rpartition(", ")[2].split(" or ")
    assert (first, second) == (str(whole), str(index))
    for path, wanted in ((first, mean), (second, state)):
        assert all(torch.equal(load_weights(path)[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("place", ["parts/", "./", "a/b/"])
def test_shards_may_lie_in_a_folder_below_their_index(
    tmp_path: Path, state: State, place: str
) -> None:
    saved(state, tmp_path / place / "one.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(state, f"{place}one.safetensors")}))
    assert load_weights(tmp_path).keys() == state.keys()
    for outside in (f"{place}../../x.safetensors", f"{tmp_path}/one.safetensors", "."):
        index.write_text(json.dumps({"weight_map": dict.fromkeys(state, outside)}))
        with pytest.raises(CheckpointError, match="which is not beside it"):
            load_weights(tmp_path)


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        *(
            (f"{before}org/Model-1.3B{after}", "hf download org/Model-1.3B --local-dir weights/M")
            for before in ("", "hf:", "https://huggingface.co/")
            for after in ("", "/")
        ),
        (
            "https://huggingface.co/org/name/resolve/main/a/x.pt?download=true",
            "hf download org/name a/x.pt --local-dir weights/name, and then give weights/name/a/x",
        ),
        ("s3://bucket/x.safetensors", "it is an address, .* download it"),
        ("file:///somewhere/x.safetensors", "give the path alone, /somewhere/x.safetensors"),
    ],
)
def test_what_is_no_path_says_what_gets_it(path: str, remedy: str) -> None:
    for refusing in (load_weights, fingerprint):
        with pytest.raises(CheckpointError, match=rf"does not exist; .*{remedy}"):
            refusing(path)
    with pytest.raises(ValueError, match=rf"^checkpoint=.* is not a file or folder.*; .*{remedy}"):
        present(path, "file or folder", "checkpoint")
    with pytest.raises(CheckpointError, match="does not exist; give a file of weights, or its"):
        load_weights("nowhere/x.safetensors")


@pytest.mark.parametrize("kind", ["FOURIERFT", "HRA", "LN_TUNING"])
def test_another_method_of_peft_is_named_by_its_settings(
    tmp_path: Path, state: State, kind: str
) -> None:
    """Its tensors are of unknown names, and are not taken for whole weights."""
    base = saved(state, tmp_path / "base.safetensors")
    folder = tmp_path / "adapter"
    names = ("base_model.model.blocks.0.self_attn.q.spectrum",)
    saved({name: torch.ones(3) for name in names}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(f'{{"peft_type": "{kind}"}}')
    with pytest.raises(CheckpointError, match=f"says peft_type={kind}; merge it"):
        load_weights(base, lora=str(folder))
