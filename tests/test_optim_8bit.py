"""AdamW with states of 8 bits: the library's steps, gone on with exactly, counted as they are."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOMS, STUDENT, Command, fit, rows
from test_distill import network, same
from test_parallel import ranks
from torch import nn
from training_memory import settings_of

from cf.files.pickled import load_tensors
from cf.modules.optim import adamw
from cf.modules.optim_8bit import AdamWIn8Bit, bytes_of_8bit_states, check_torchao
from cf.runs.training_plan import check_training, planned_training

pytest.importorskip("torchao")
HOW: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.98), "weight_decay": 0.01}
WIDE = ("model.dim=48", "model.num_heads=4", "model.ffn_dim=192")  # large enough to be quantised
BOTH = ("optimizer=adamw_8bit", "optimizer@critic_optimizer=adamw_8bit", "optimizer.lr=0.001")


def small(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.Tanh(), nn.Linear(96, 64)).to(dtype)


def trained(module: nn.Module, optimizer: Any, steps: range) -> list[float]:
    losses = []
    for step in steps:
        torch.manual_seed(step)
        x = torch.randn(16, 64, dtype=next(module.parameters()).dtype)
        loss = (module(x) - x.roll(1, 1)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_its_steps_are_the_librarys_at_the_rate_of_the_moment() -> None:
    from torchao.optim import AdamW8bit

    ours, theirs = small(), small()
    mine, other = AdamWIn8Bit(ours, **HOW), AdamW8bit(theirs.parameters(), **HOW)
    with torch.compiler.set_stance("force_eager"):
        for number in range(4):
            rate = 1e-3 * (number + 1)
            mine.param_groups[0]["lr"] = rate  # as a schedule does
            other.param_groups[0]["lr"].fill_(rate)
            trained(ours, mine, range(number, number + 1))
            trained(theirs, other, range(number, number + 1))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    assert type(mine.state[ours[0].weight]["exp_avg"]).__name__ == "OptimState8bit"  # type: ignore[index]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_state_goes_on_to_the_same_bits_and_names_no_library(dtype: torch.dtype) -> None:
    whole, cut = small(dtype), small(dtype)
    trained(whole, AdamWIn8Bit(whole, **HOW), range(6))
    first = AdamWIn8Bit(cut, **HOW)
    trained(cut, first, range(3))
    file = io.BytesIO()
    torch.save([cut.state_dict(), first.state_dict()], file)
    file.seek(0)
    weights, states = load_tensors(file)  # refuses whatever is no tensor or plain value
    again = small(dtype)
    again.load_state_dict(weights)
    second = AdamWIn8Bit(again, **HOW)
    second.load_state_dict(states)
    trained(again, second, range(3, 6))
    for a, b in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_state_of_adamw_is_refused() -> None:
    module = small()
    wide = adamw(module, **HOW)
    trained(module, wide, range(1))
    with pytest.raises(ValueError, match=r"is of optimizer=adamw"):
        AdamWIn8Bit(module, **HOW).load_state_dict(wide.state_dict())


@pytest.mark.whole
def test_it_learns_as_adamw_does() -> None:
    """Measured: 2.4e-3 of the loss at most, over 200 steps in which it falls to a fifth."""
    ours, theirs = small(), small()
    mine = trained(ours, AdamWIn8Bit(ours, **HOW), range(200))
    other = trained(theirs, adamw(theirs, **HOW), range(200))
    assert other[-1] < 0.25 * other[0]
    assert mine == pytest.approx(other, rel=0.01)
    assert mine != other


def test_bytes_are_those_of_the_states() -> None:
    """Two bytes of a weight and its scales, not eight; parameters that are small stay wide."""
    module = nn.Sequential(nn.Linear(64, 96), nn.Linear(63, 65), nn.Linear(8, 8))
    optimizer = AdamWIn8Bit(module, **HOW)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    held = 0
    for state in optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            value = state[name]
            parts = [getattr(value, part, None) for part in ("codes", "scale", "qmap")]
            held += sum(one.nbytes for one in parts if one is not None) or value.nbytes
    assert bytes_of_8bit_states(module.parameters()) == held
    large = nn.Linear(1024, 1024, bias=False)
    assert bytes_of_8bit_states(large.parameters()) == pytest.approx(2.03 * 1024**2, rel=0.01)


def test_without_the_library_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, refused: Command, tmp_path: Path
) -> None:
    monkeypatch.setattr("cf.modules.optim_8bit.find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"pip install -e '.\[torchao\]'"):
        check_torchao()
    folder = tmp_path / "run"
    told = refused("cf.fit", *ROOMS, "optimizer=adamw_8bit", f"hydra.run.dir='{folder}'")
    assert "optimizer=adamw_8bit needs torchao: pip install -e '.[torchao]'" in told
    assert not (folder / "config.yaml").exists()  # nothing was begun


@pytest.mark.slow
def test_a_plan_counts_it_and_names_it_where_something_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)  # a plan needs no library
    size = ("data=rooms", "model=rooms", "model.dim=96", "data.batch_size=1")
    size = (*size, "model.activation_checkpointing=true")
    wide = settings_of(*size, "optimizer=adamw")
    plan = planned_training(wide)
    narrow = planned_training(settings_of(*size, "optimizer=adamw_8bit"))
    saved = plan.roles["student: optimiser"] - narrow.roles["student: optimiser"]
    assert saved > 0.6 * plan.roles["student: optimiser"]
    assert check_training(plan, plan.peak - saved, wide, 1).endswith(
        f"with optimizer=adamw_8bit it takes {narrow.peak / 1e9:.2f}"
    )
    both = settings_of("experiment=self_forcing", *size[2:])
    plan = planned_training(both)
    said = check_training(plan, plan.peak // 1000, both, 1)
    assert "optimizer=adamw_8bit optimizer@critic_optimizer=adamw_8bit" in said


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network to start from."""
    return fit(tmp_path_factory.mktemp("start") / "run", *ROOMS, *WIDE)


def student(start: Path) -> tuple[str, ...]:
    roles = (f"start.student.path='{start}'", f"start.teacher.path='{start}'")
    more = ("module.cooldown=0", "objective=dmd", "module.conflict_every_steps=0")
    return (*ROOMS, *WIDE, *STUDENT, *roles, *more, *BOTH)


@pytest.mark.slow
@pytest.mark.whole
@pytest.mark.parametrize("how", ["alone", "ddp", "fsdp2"])
def test_a_training_goes_on_to_the_same_bits(how: str, start: Path, tmp_path: Path) -> None:
    strategy: dict[str, tuple[str, ...]] = {
        "alone": (),
        "ddp": ("trainer=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true"),
        "fsdp2": ("trainer=fsdp2", "trainer.accelerator=cpu", "trainer.precision=32-true"),
    }
    count = 1 if how == "alone" else 2
    given = (*student(start), *strategy[how])
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    began = (*given, f"hydra.run.dir='{cut}'", "trainer.max_steps=2")
    goes_on = (f"resume='{cut}'", "trainer.max_steps=4", "trust=true")
    for typed in ((*given, f"hydra.run.dir='{whole}'"), began, goes_on):
        with ranks(count, tmp_path, *typed) as running:
            ended = [one.ended(600) for one in running]
        assert ended == [0] * count, (tmp_path / "0.log").read_text()
    assert same(whole, cut)
    names = ("train/student_loss", "train/critic_loss")
    assert [[row[n] for n in names] for row in rows(cut)] == [
        [row[n] for n in names] for row in rows(whole)
    ]
    assert all(torch.isfinite(value).all() for value in network(cut).values())
    if how == "fsdp2":
        more = (f"resume='{cut}'", "trainer.max_steps=6", "trust=true")
        with ranks(1, tmp_path, *more) as running:
            assert running[0].ended(600) == 1
        told = (tmp_path / "0.log").read_text()
        assert "2 processes" in told
        assert "Traceback" not in told
