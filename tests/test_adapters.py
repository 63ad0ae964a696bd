"""Roles as LoRA on one frozen network: equal to networks of their own, held once, exported."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOMS, STUDENT, fit, rows, run
from safetensors.torch import load_file, save_file
from test_distill import network as exported
from test_parallel import FSDP2, each, ranks, rolled
from tiny import conditioning, draw, latents, model
from torch.distributed.device_mesh import init_device_mesh
from training_memory import settings_of

from cf.distillation.replay import Writer
from cf.models.adapter_files import save_adapter
from cf.models.adapters import (
    AdaptedBackbone,
    Adapter,
    freeze,
    shared_networks,
    store_as_read,
)
from cf.models.base import Backbone
from cf.models.checkpoints import load_weights
from cf.models.low_rank import is_factor
from cf.models.sharding import Sharding, is_sharded, local, whole, whole_state
from cf.models.stored import CheckpointError
from cf.models.transformer import VideoTransformer
from cf.modules.ema import WeightAverage
from cf.modules.optim import MuonWithAdamW
from cf.modules.roles import RoleAdapters
from cf.runs.outline import codec_outline
from cf.runs.roles import built_module, role_networks
from cf.runs.training_plan import module_of
from cf.runs.training_roles import role_bytes
from cf.settings.schema import Fit

ROLES = {"student": Adapter(r=3, lora_alpha=6), "critic": Adapter(r=2, target_modules=("q", "v"))}


def filled(role: AdaptedBackbone, seed: int) -> AdaptedBackbone:
    """With factors that make a difference, the same for a seed."""
    with torch.no_grad():
        for i, factor in enumerate(role.parameters()):
            factor.copy_(draw(*factor.shape, seed=100 * seed + i, scale=0.3))
    return role


def on(network: Backbone, name: str) -> AdaptedBackbone:
    return filled(ROLES[name].on(network, name), len(name))


def shared(**sizes: Any) -> dict[str, Backbone]:
    """Three roles of one network."""
    base = model(**sizes)
    return {"student": on(base, "student"), "critic": on(base, "critic"), "teacher": base}


def apart(**sizes: Any) -> dict[str, Backbone]:
    """The same roles, each on a whole copy of its own."""
    roles = {name: on(model(**sizes), name) for name in ROLES}
    return {**roles, "teacher": model(**sizes)}


def turn(roles: Mapping[str, Backbone]) -> torch.Tensor:
    """A student's loss as DMD has it: others are called between its calls and its backward pass."""
    video = rolled(roles["student"])
    x, t, cond = latents(2, 4, seed=3), torch.full((2, 4), 0.6).double(), conditioning(2, 4)
    with torch.no_grad():
        seen = [roles[name](x, t, cond).velocity for name in ("teacher", "critic")]
    own = roles["student"](x, t, cond).velocity
    loss = video + (own * (seen[0] - seen[1])).mean() + own.square().mean()
    with torch.no_grad():
        roles["critic"](x, t, cond)  # the last to be called before the backward pass
    return loss


@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_step_of_roles_is_a_step_of_separate_networks(checkpointing: bool) -> None:
    """Losses, gradients and updates; blocks that are recomputed are still the student's."""
    found = []
    for make in (shared, apart):
        roles = make(activation_checkpointing=checkpointing)
        steps = []
        for name, loss in (("student", turn), ("critic", lambda r: rolled(r["critic"]))):
            optimizer = torch.optim.AdamW(roles[name].parameters(), lr=0.01)
            value = loss(roles)
            value.backward()
            gradients = [p.grad for p in roles[name].parameters()]
            assert all(g is not None and g.abs().sum() > 0 for g in gradients)
            optimizer.step()
            steps += [value.detach(), *gradients, *roles[name].parameters()]
        frozen = [p for n, p in roles["student"].network.named_parameters() if not is_factor(n)]
        assert all(p.grad is None for p in frozen)
        found.append(steps)
    for mine, theirs in zip(*found, strict=True):
        assert torch.equal(mine, theirs)


def test_the_network_is_held_once_and_stays_as_it_was() -> None:
    before = model().state_dict()
    roles = shared()
    average = WeightAverage(roles["student"], 0.5)
    turn(roles).backward()
    torch.optim.AdamW(roles["student"].parameters(), lr=0.1).step()
    average.update(roles["student"])
    base = roles["teacher"]
    own = {name: w for name, w in base.state_dict().items() if not is_factor(name)}
    assert own.keys() == before.keys()
    assert all(torch.equal(own[name], before[name]) for name in before)
    holders = [*roles.values(), average.network]
    assert shared_networks(holders) == [base]
    parts = [p for one in holders for p in one.parameters()]
    unique = sum(p.nbytes for p in {id(p): p for p in parts}.values())
    factors = sum(p.nbytes for one in holders if one is not base for p in one.parameters())
    assert unique == sum(w.nbytes for w in before.values()) + factors
    assert factors < 0.6 * sum(w.nbytes for w in before.values())


def test_an_average_is_of_the_factors() -> None:
    student = on(model(), "student")
    average = WeightAverage(student, 0.5)
    begun = [p.clone() for p in student.parameters()]
    filled(student, 9)
    average.update(student)
    share = 1 - min(0.5, 2 / 11)
    for mine, old, new in zip(average.parameters(), begun, student.parameters(), strict=True):
        assert not mine.requires_grad
        torch.testing.assert_close(mine, old.lerp(new, share))
    x, t, cond = latents(1, 2), torch.full((1, 2), 0.5).double(), conditioning(1, 2)
    assert not torch.equal(average.network(x, t, cond).velocity, student(x, t, cond).velocity)


def files(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[AdaptedBackbone, Path, Path]:
    """A role, the file of its network, and its adapter."""
    base = model(dtype)
    save_file(base.state_dict(), folder / "base.safetensors")
    student = on(base, "student")
    save_adapter(folder / "adapter", student, student.state_dict())
    return student, folder / "base.safetensors", folder / "adapter"


def test_merged_it_is_the_network_with_its_adapter(tmp_path: Path) -> None:
    """Both forms: bit for bit what `weights.lora` merges, and to rounding what was trained."""
    student, base, adapter = files(tmp_path)
    merged = student.merged(student.network.state_dict(), student.state_dict())
    read = load_weights(base, None, str(adapter))
    assert merged.keys() == set(read)
    assert all(torch.equal(merged[name], read[name]) for name in merged)
    alone = model(torch.float32)
    alone.load_state_dict(merged)
    x, t = latents(2, 3, dtype=torch.float32), torch.full((2, 3), 0.4)
    cond = conditioning(2, 3, dtype=torch.float32)
    made, plain = alone(x, t, cond).velocity, student.network(x, t, cond).velocity
    torch.testing.assert_close(made, student(x, t, cond).velocity, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(made, plain, rtol=1e-2, atol=1e-3)
    names = list(load_file(adapter / "adapter_model.safetensors"))
    assert "base_model.model.blocks.1.ffn.2.lora_B.weight" in names
    said = json.loads((adapter / "adapter_config.json").read_text())
    assert (said["peft_type"], said["r"], said["lora_alpha"]) == ("LORA", 3, 6)


def test_what_is_merged_of_a_network_in_half_precision_keeps_the_difference() -> None:
    student = on(model(torch.float32), "student")
    store_as_read(student.network, torch.bfloat16)
    merged = student.merged(student.network.state_dict(), student.state_dict())
    assert {weight.dtype for weight in merged.values()} == {torch.float32}


@pytest.mark.slow
def test_peft_itself_reads_it(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    student, _, adapter = files(tmp_path)
    theirs = model(torch.float32)
    config = peft.LoraConfig.from_pretrained(str(adapter))
    peft.inject_adapter_in_model(config, theirs)
    told = peft.set_peft_model_state_dict(
        theirs, peft.utils.load_peft_weights(str(adapter), device="cpu")
    )
    assert not told.unexpected_keys
    x, t = latents(2, 3, dtype=torch.float32), torch.full((2, 3), 0.4)
    cond = conditioning(2, 3, dtype=torch.float32)
    made = theirs(x, t, cond).velocity
    torch.testing.assert_close(student(x, t, cond).velocity, made, rtol=1e-5, atol=1e-6)


def test_a_role_begins_with_an_adapter(tmp_path: Path) -> None:
    """At another alpha, with the same difference."""
    student, _, adapter = files(tmp_path)
    again = Adapter(r=3, lora_alpha=1.5, path=str(adapter)).on(model(torch.float32), "student")
    x, t = latents(1, 3, dtype=torch.float32), torch.full((1, 3), 0.4)
    cond = conditioning(1, 3, dtype=torch.float32)
    made = again(x, t, cond).velocity
    torch.testing.assert_close(made, student(x, t, cond).velocity, rtol=1e-4, atol=1e-5)


def test_a_teacher_is_a_frozen_role(tmp_path: Path) -> None:
    """As which a critic begins."""
    _, _, adapter = files(tmp_path)
    teacher = Adapter(r=3, lora_alpha=6, path=str(adapter))
    roles, base = RoleAdapters(Adapter(r=1), teacher, teacher), model(torch.float32)
    made = {name: roles.on(base, name) for name in ("student", "critic", "teacher")}
    assert [name for name, one in made.items() if not next(one.parameters()).requires_grad] == [
        "teacher"
    ]
    x, t = latents(1, 3, dtype=torch.float32), torch.full((1, 3), 0.4)
    cond = conditioning(1, 3, dtype=torch.float32)
    seen = {name: one(x, t, cond).velocity for name, one in made.items()}
    assert torch.equal(seen["critic"], seen["teacher"])
    assert torch.equal(seen["student"], base(x, t, cond).velocity)
    assert not torch.equal(seen["student"], seen["teacher"])


def begun(folder: Path, **said: Any) -> Callable[[], object]:
    return lambda: Adapter(**said, path=str(folder / "adapter")).on(model(torch.float32), "student")


def test_a_wrong_adapter_is_refused(tmp_path: Path) -> None:
    files(tmp_path)
    plain = model(torch.float32)
    of_nothing = {"student": {"path": None}, "adapters": {"student": {"r": 1}, "critic": None}}
    unknown = Adapter(target_modules=("q", "query"))
    named = r"target_modules=.*query; there are .*self_attn\.q, .*head\.head"
    for make, told in (
        (lambda: unknown.on(plain, "critic"), named),
        (lambda: Adapter(target_modules=()).on(plain, "critic"), "called so; there are"),
        (lambda: Adapter(r=25).on(plain, "critic"), r"adapters\.critic\.r=25 must lie in 1 to 24"),
        (lambda: Adapter(r=0), "r=0 must be at least 1"),
        (lambda: Adapter(lora_alpha=-1), "lora_alpha=-1 positive"),
        (lambda: Adapter().on(torch.nn.Identity(), "critic"), "Identity is none"),  # type: ignore[arg-type]
        (begun(tmp_path, r=4), r"give adapters\.student\.r=3"),
        (begun(tmp_path, r=3, target_modules=("q",)), r"changes other layers than adapters\.stud"),
        (begun(tmp_path, r=3, sha256="0" * 64), "another LoRA than when this run began"),
        (lambda: RoleAdapters(teacher=Adapter()), r"give adapters\.teacher\.path"),
        (RoleAdapters(critic=Adapter()).check_alone, "adapters=student"),
        (lambda: Writer().prepared(on(model(), "student")), r"gradient=replay"),
        (lambda: built_module({"module": of_nothing}), r"give start\.student\.path"),
    ):
        with pytest.raises((ValueError, CheckpointError), match=told):
            make()
    assert plain.active is None
    assert "leave it out here" in Fit.unused({"module": {}, "adapters": {"r": 1}})


def test_mixed_precision_reads_what_it_would_cast() -> None:
    """Frozen layers in bfloat16: to the bit what autocast makes of float32, and no cast is held."""
    x, t = latents(1, 3, dtype=torch.float32), torch.full((1, 3), 0.4)
    cond = conditioning(1, 3, dtype=torch.float32)
    made = []
    for stored in (False, True):
        student = on(model(torch.float32), "student")
        if stored:
            store_as_read(student.network, torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            loss = student(x, t, cond).velocity.square().mean()
        loss.backward()
        made.append([loss.detach(), *(p.grad for p in student.parameters())])
        assert student(x, t, cond).velocity.dtype == torch.float32  # samples are made without
    for mine, theirs in zip(*made, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view tensor")
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.whole
def test_roles_in_shards_are_the_roles(half: bool, tmp_path: Path) -> None:
    """Losses, steps and averages are those of one process; the network is sharded once."""

    def steps(roles: Mapping[str, Backbone], average: WeightAverage) -> torch.Tensor:
        names, losses = ("critic", "student"), []
        makers = {name: torch.optim.AdamW(roles[name].parameters(), lr=0.01) for name in names}
        for name in (*names, *names):
            with torch.no_grad():
                rolled(average.network)
            loss = turn(roles) if name == "student" else rolled(roles[name])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(roles[name].parameters(), 0.1)
            makers[name].step()
            makers[name].zero_grad()
            average.update(roles["student"])
            losses.append(loss.detach())
        return torch.stack(losses)

    dtype = torch.float32 if half else torch.float64
    one = shared(dtype=dtype, activation_checkpointing=True)
    one_average = WeightAverage(one["student"], 0.9)
    if not half:
        expected = steps(one, one_average)

    def work(rank: int) -> None:
        roles = shared(dtype=dtype, activation_checkpointing=True)
        average = WeightAverage(roles["student"], 0.9)
        base = roles["teacher"]
        freeze(base, torch.bfloat16 if half else None)
        sharding = Sharding(init_device_mesh("cpu", (2,)), torch.bfloat16 if half else None)
        for each_one in (roles["student"], roles["critic"], average.network, base):
            sharding.shard(each_one)
        assert is_sharded(roles["student"])
        found = steps(roles, average)
        size = sum(local(p).numel() for p in base.parameters())
        assert size < 0.55 * sum(p.numel() for p in one["teacher"].parameters())
        if half:
            assert {p.dtype for p in roles["student"].parameters()} == {torch.float32}
            assert found.isfinite().all()
            return
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
        pairs = ((roles["student"], one["student"]), (average.network, one_average.network))
        for mine, theirs in pairs:
            state = whole_state(mine, keep=True)
            for name, weight in theirs.state_dict().items():
                torch.testing.assert_close(state[name], weight, rtol=0, atol=1e-9)
        own = {k: whole(w) for k, w in base.state_dict().items() if not is_factor(k)}
        assert all(torch.equal(own[name], weight) for name, weight in model().state_dict().items())

    each(2, tmp_path, work)


def adapted(start: Path, *more: str) -> tuple[str, ...]:
    roles = (f"start.student.path='{start}'", f"start.teacher.path='{start}'")
    small = ("adapters=student_critic", "adapters.student.r=4", "adapters.critic.r=2")
    steps = ("optimizer=adamw", "optimizer.lr=0.01", "module.cooldown=0", "objective=mixed")
    return (*ROOMS, *STUDENT, *roles, *small, *steps, "module.conflict_every_steps=2", *more)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network to start from."""
    return fit(tmp_path_factory.mktemp("start") / "run", *ROOMS)


@pytest.mark.whole
def test_a_run_keeps_adapters_goes_on_exactly_and_exports_both_forms(
    start: Path, tmp_path: Path
) -> None:
    done = fit(tmp_path / "run", *adapted(start, "data.batch_size=2"))
    losses, weights = rows(done), exported(done)
    last = done / "checkpoints" / "step=00000004.ckpt"
    saved = torch.load(last, weights_only=True)["state_dict"]
    held = {name.partition(".")[0] for name in saved if is_factor(name)}
    assert held == {"network", "critic", "average"}
    assert not any(".blocks." in name and not is_factor(name) for name in saved)
    merged = load_weights(start, None, str(done / "adapter"))
    assert weights.keys() == set(merged)
    assert all(torch.equal(weights[name], merged[name]) for name in weights)
    base = load_file(start / "network.safetensors")
    size = json.loads((done / "summary.json").read_text())["parameters"]
    assert size == sum(weight.numel() for weight in base.values())
    changed = {name for name in base if not torch.equal(base[name], weights[name])}
    assert "blocks.0.self_attn.q.weight" in changed
    assert all(name.startswith("blocks.") and name.endswith(".weight") for name in changed)
    last.unlink()
    fit(done, f"resume='{done}'")
    assert rows(done) == losses
    assert all(torch.equal(weight, weights[name]) for name, weight in exported(done).items())


@pytest.mark.whole
def test_one_network_is_pre_trained_as_a_lora(start: Path, tmp_path: Path) -> None:
    given = ("adapters=student", "adapters.student.r=4", f"start.student.path='{start}'")
    given = (*ROOMS, *given, "trainer.max_steps=2", "data.batch_size=2")
    with pytest.raises(ValueError, match="give optimizer=adamw"):
        MuonWithAdamW(on(model(), "student"))
    done = fit(tmp_path / "run", *given, "optimizer=adamw", "optimizer.lr=0.01")
    merged = load_weights(start, None, str(done / "adapter"))
    weights, base = exported(done), exported(start)
    assert all(torch.equal(weights[name], merged[name]) for name in weights)
    assert not all(torch.equal(weights[name], base[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.whole
@pytest.mark.parametrize("how", ["ddp", "fsdp2"])
def test_two_processes_are_one_and_may_be_killed(how: str, start: Path, tmp_path: Path) -> None:
    """Losses and exported weights of one process; a killed rank, then another number of them."""
    given = adapted(start, "module.accumulate=2", "trainer.max_steps=6")
    ddp = ("trainer.precision=64-true", "+trainer.strategy=ddp_find_unused_parameters_true")
    strategy = FSDP2 if how == "fsdp2" else ddp
    folder, cut = tmp_path / "one", tmp_path / "two"
    one = ("trainer.precision=64-true", "data.batch_size=8", f"hydra.run.dir='{folder}'")
    done = run("cf.fit", *given, *one)
    assert done.status == 0, done.told
    two = (*strategy, "data.batch_size=4", f"hydra.run.dir='{cut}'")
    with ranks(2, tmp_path, *given, *two) as running:
        saved = cut / "checkpoints" / "step=00000002.ckpt"
        assert running[1].until(saved.exists, 300), (tmp_path / "0.log").read_text()
        running[1].send(9, group=False)
        assert running[0].ended(120) == 1
    with ranks(2, tmp_path, f"resume='{cut}'", "trust=true") as running:
        assert [one.ended(600) for one in running] == [0, 0], (tmp_path / "0.log").read_text()
    for name in ("train/student_loss", "train/critic_loss", "train/student_gradient_norm"):
        told = [[float(row[name]) for row in rows(some)] for some in (cut, folder)]
        assert told[0] == pytest.approx(told[1], rel=1e-6), name
    theirs = exported(folder)
    for name, mine in exported(cut).items():
        torch.testing.assert_close(mine, theirs[name], rtol=0, atol=1e-6)


@pytest.mark.whole
def test_a_plan_counts_the_network_once_and_states_of_adapters_alone() -> None:
    small = ("model.dim=96", "model.num_layers=3", "adapters.student.r=4", "adapters.critic.r=4")
    settings = settings_of("experiment=self_forcing", "adapters=student_critic", *small)
    with torch.random.fork_rng():
        module = module_of(settings, None, torch.float32, codec_outline(settings["codec"], {}))
    roles = role_bytes(settings, module, 1)
    own = sum(p.nbytes for p in _built(settings).parameters())
    assert roles["shared networks: weights"] == own
    assert "teacher: weights" not in roles
    assert roles["student: weights"] == roles["student: gradients"] == roles["average of weights"]
    assert roles["student: optimiser"] == pytest.approx(2 * roles["student: weights"], rel=0.05)
    assert roles["student: weights"] < own / 10


def _built(settings: Mapping[str, Any]) -> VideoTransformer:
    from cf.settings.build import build

    made = build(settings["model"], "model")
    assert isinstance(made, VideoTransformer)
    return made


def test_roles_that_begin_alike_share_and_whole_ones_do_not() -> None:
    begins = {"path": "a", "required": True}
    group = {"student": {"path": "a"}, "teacher": begins, "critic": {"path": "a"}}
    for adapters, alike in (
        ({"student": 1, "critic": 1}, "student teacher critic"),
        ({"critic": 1}, "teacher critic"),
        ({"student": 1}, "student teacher"),
        (None, "student"),
    ):
        made = role_networks({**group, "adapters": adapters}, lambda *_: object())
        made["critic"] = made["critic"]()
        first = made[alike.split()[0]]
        assert [name for name in group if made[name] is first] == alike.split()
    other = {**group, "teacher": {"path": "b"}, "adapters": {"student": 1, "critic": 1}}
    made = role_networks(other, lambda *_: object())
    assert made["student"] is made["critic"]() is not made["teacher"]
    assert copy.copy(group) == group
