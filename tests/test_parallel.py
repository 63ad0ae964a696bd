"""Trainings on several processes: equal to one, ended together, gone on with by any number."""

import faulthandler
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from commands import ROOMS, STUDENT, begin, fit, rows, run
from test_distill import network
from tiny import conditioning, latents, model
from torch.distributed.device_mesh import init_device_mesh
from warm import Running

from cf.callbacks.checkpoint import Checkpoints
from cf.distillation.ode import OdeRegression
from cf.distillation.start import RealClips, Roles
from cf.memory.full import Full
from cf.models.sharding import Sharding, local, whole, whole_state
from cf.modules.ema import WeightAverage
from cf.objectives.score import SharedMemory
from cf.rollout.blockwise import Rollout
from cf.runs.trusted_run import vet_run
from cf.seeding import SampleRandom
from cf.system.peers import Peers

DOUBLE = (
    "trainer.precision=null",
    "+trainer.plugins._target_=lightning.pytorch.plugins.precision.DoublePrecision",
)
_LONGEST = 150.0  # seconds that a rank takes at most
FSDP2 = ("trainer=fsdp2", "trainer.accelerator=cpu", *DOUBLE)


def each(count: int, folder: Path, work: Callable[[int], None]) -> None:
    """Some work in processes that are one gloo group."""
    children = []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                faulthandler.dump_traceback_later(_LONGEST, exit=True)  # tells where it waits
                torch.set_num_threads(1)
                os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
                store = torch.distributed.FileStore(str(folder / "store"), count)
                torch.distributed.init_process_group(
                    "gloo", store=store, rank=rank, world_size=count
                )
                work(rank)
                torch.distributed.barrier()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children] == [0] * count


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def ranks(count: int, folder: Path, *settings: str) -> Iterator[list[Running]]:
    """`cf.fit` in processes that somebody else has started, as torchrun does."""
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        running = []
        for rank in range(count if count > 1 else 1):
            if count > 1:
                for name, value in {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}.items():
                    patch.setenv(name, value)
            given = [*settings, f"trainer.devices={count}"]
            running.append(stack.enter_context(begin(("cf.fit", given), folder / f"{rank}.log")))
        yield running


def rolled(student: torch.nn.Module) -> torch.Tensor:
    """A loss of a rollout whose blocks read one another."""
    rollout = Rollout(Full(), num_steps=2, block_frames=2)
    drawn = {(s, k): latents(2, 2, seed=7 * s + k) for s in (0, 2) for k in range(2)}
    how = {"frames": 4, "window_frames": 4, "differentiable_past": True, "goes_on": False}
    made = rollout(student, lambda *at: drawn[at], conditioning(2, 4), **how)
    return made.window.square().mean()


@pytest.mark.whole
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view tensor")
@pytest.mark.parametrize("checkpointing", [True, pytest.param(False, marks=pytest.mark.exhaustive)])
def test_a_network_in_shards_is_the_network(checkpointing: bool, tmp_path: Path) -> None:
    """Its rollout, gradient, step and average are those of one process, and so is what is saved."""

    def step(student: torch.nn.Module, average: WeightAverage) -> torch.Tensor:
        optimizer = torch.optim.AdamW(student.parameters(), lr=0.01)
        losses = []
        for _ in range(2):
            with torch.no_grad():
                rolled(average.network)  # leaves weights gathered, which are soon stale
            loss = rolled(student)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 0.1)
            optimizer.step()
            optimizer.zero_grad()
            average.update(student)
            losses.append(loss.detach())
        return torch.stack(losses)

    def made() -> tuple[torch.nn.Module, WeightAverage]:
        student = model(activation_checkpointing=checkpointing)
        return student, WeightAverage(student, 0.9)

    one, one_average = made()
    expected = step(one, one_average)

    def work(rank: int) -> None:
        student, average = made()
        sharding = Sharding(init_device_mesh("cpu", (2,)))
        for each_one in (student, average.network):
            sharding.shard(each_one)
        torch.testing.assert_close(step(student, average), expected, rtol=1e-9, atol=0)
        size = sum(local(p).numel() for p in student.parameters())
        assert size < 0.55 * sum(p.numel() for p in one.parameters())
        for mine, theirs in ((student, one), (average.network, one_average.network)):
            state = whole_state(mine, keep=rank == 0)
            assert bool(state) == (rank == 0)
            for name, weight in state.items():
                torch.testing.assert_close(weight, theirs.state_dict()[name], rtol=0, atol=1e-9)

    each(2, tmp_path, work)


@pytest.mark.whole
@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view tensor")
@pytest.mark.parametrize("past", ["video", "rollout"])
def test_trajectories_are_made_by_all_processes_together(past: str, tmp_path: Path) -> None:
    """One is kept: the first process makes it, and the second reads it in the same step."""

    def losses(folder: Path, ranks: int, rank: int, networks: list[torch.nn.Module]) -> list[float]:
        few = {"count": 1, "solver_steps": 2, "past": past, "prefix_blocks": (0, 1)}
        regression = OdeRegression(Rollout(Full(), num_steps=2, block_frames=2), str(folder), **few)
        student, teacher = (SharedMemory(one, memory=Full(), block_frames=2) for one in networks)
        found, count = [], 4 // ranks
        for step in range(2):
            samples = tuple(range(4 * step + rank * count, 4 * step + (rank + 1) * count))
            video = torch.cat([latents(1, 4, seed=one) for one in samples])
            random = SampleRandom((1,), samples)
            cond = conditioning(8, 4).samples(list(samples))
            clips = RealClips(video, cond, None, samples, random, step)
            loss = regression.loss(clips, Roles(student, student, teacher)).value
            found.append(float(loss.detach()))
        return found

    def networks() -> list[torch.nn.Module]:
        return [model(), model(seed=1)]

    expected = losses(tmp_path / "one", 1, 0, networks())

    def work(rank: int) -> None:
        made, sharding = networks(), Sharding(init_device_mesh("cpu", (2,)))
        for one in made:
            sharding.shard(one)
        loss = torch.tensor(losses(tmp_path / "two", 2, rank, made)) / 2
        torch.distributed.all_reduce(loss)
        torch.testing.assert_close(loss, torch.tensor(expected), rtol=1e-6, atol=0)

    each(2, tmp_path, work)


def test_weights_that_two_parts_share_are_refused() -> None:
    network = model()
    network.time_embedding[2].bias = network.time_embedding[0].bias
    with pytest.raises(ValueError, match=r"holds time_embedding\.2\.bias twice.*trainer=ddp"):
        Sharding(SimpleNamespace()).shard(network)  # type: ignore[arg-type]
    assert whole(network.patch_embedding.weight) is network.patch_embedding.weight


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network to start from."""
    return fit(tmp_path_factory.mktemp("start") / "run", *ROOMS)


def student(start: Path, *more: str) -> tuple[str, ...]:
    roles = (f"start.student.path='{start}'", f"start.teacher.path='{start}'")
    lasting = ("module.cooldown=0", "objective=mixed", "module.conflict_every_steps=2")
    steps = ("optimizer=adamw", "optimizer.lr=0.001", "module.accumulate=2")
    return (*ROOMS, *STUDENT, *roles, *lasting, *steps, *more)


@pytest.mark.slow
@pytest.mark.whole
def test_a_rank_is_killed_and_any_number_goes_on(start: Path, tmp_path: Path) -> None:
    """One process all the way; two, of which one is killed; then one, then four: the same run.

    A guide is in shards like the teacher that it guides.
    """
    whole_run, cut = tmp_path / "whole", tmp_path / "cut"
    guide = ("guide=previous_block", f"start.guide.path='{start}'", "score.guidance=2")
    given = student(start, *guide)
    one = ("trainer.precision=64-true", "trainer.max_steps=6", "data.batch_size=8")
    done = run("cf.fit", *given, *one, f"hydra.run.dir='{whole_run}'")
    assert done.status == 0, done.told
    two = (*FSDP2, "trainer.max_steps=1000", "data.batch_size=4", f"hydra.run.dir='{cut}'")
    with ranks(2, tmp_path, *given, *two) as running:
        saved = cut / "checkpoints" / "step=00000002.ckpt"
        assert running[1].until(saved.is_dir, 300), (tmp_path / "0.log").read_text()
        running[1].send(signal.SIGKILL, group=False)
        killed = time.monotonic()
        assert running[0].ended(60) == 1
        assert time.monotonic() - killed < 60
        told = (tmp_path / "0.log").read_text()
        assert told.count("process 1 of 2 was killed") == 1
        assert "Traceback" not in told
        assert f"resume={cut}" in told
    for late in sorted((cut / "checkpoints").iterdir())[1:]:  # it may have gone on for a while
        os.rename(late, tmp_path / late.name)
    for count, steps in ((1, 4), (4, 6)):
        more = (f"trainer.max_steps={steps}", f"data.batch_size={8 // count}", "trust=true")
        with ranks(count, tmp_path, f"resume='{cut}'", *more) as running:
            assert [one.ended(600) for one in running] == [0] * count, [
                (tmp_path / f"{i}.log").read_text() for i in range(count)
            ]
    ours, theirs = rows(cut), rows(whole_run)
    for name in ("train/student_loss", "train/critic_loss", "train/student_gradient_norm"):
        told = [[float(row[name]) for row in some] for some in (ours, theirs)]
        assert told[0] == pytest.approx(told[1], rel=1e-6), name
    assert ours[2]["train/conflict"] == theirs[2]["train/conflict"] != ""
    weights = network(whole_run)
    for name, mine in network(cut).items():
        torch.testing.assert_close(mine, weights[name], rtol=0, atol=1e-6)


def test_a_run_may_name_its_strategy_and_nothing_else(tmp_path: Path) -> None:
    checkpoint = {"_target_": "cf.callbacks.checkpoint.Checkpoints", "dirpath": "checkpoints"}
    strategy = {"_target_": "cf.modules.fully_shard.FullyShard", "copies": "nodes"}
    settings = {
        "callbacks": {"checkpoint": checkpoint},
        "trainer": {"_target_": "lightning.Trainer", "strategy": strategy},
        "data": None,
        "module": None,
        "tensorboard": None,
    }
    vet_run(settings, tmp_path, "config.yaml")  # type: ignore[arg-type]
    strategy["_target_"] = "os.system"
    with pytest.raises(ValueError, match="trust=true"):
        vet_run(settings, tmp_path, "config.yaml")  # type: ignore[arg-type]
    assert Checkpoints.__module__ == "cf.callbacks.checkpoint"


def say(pipe: int, what: str) -> None:
    os.write(pipe, f"{what}\n".encode())


@pytest.mark.parametrize("who", [0, 1])
@pytest.mark.parametrize("how", ["killed", "fails", "leaves"])
def test_processes_end_together(who: int, how: str, tmp_path: Path) -> None:
    """Of three: one is killed, meets an error, or ends as it should, at which nobody minds."""
    pipe, far = os.pipe()
    address = tmp_path / "address"
    children = []
    for rank in range(3):
        child = os.fork()
        if child == 0:
            peers = Peers(rank, 3, rank == 1, partial(say, far))
            if rank == 0:
                port, secret = peers.open()
                (tmp_path / "new").write_text(f"{port} {secret}")
                (tmp_path / "new").rename(address)
            while not address.exists():
                time.sleep(0.01)
            port, secret = address.read_text().split()
            peers.begin("127.0.0.1", int(port), secret)
            time.sleep(0.1)
            if rank == who and how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if rank == who and how == "fails":
                peers.fail()
                os._exit(3)
            time.sleep(0.0 if rank == who else 0.3 if how == "leaves" else 30)
            peers.leave()
            os._exit(0)
        children.append(child)
    os.close(far)
    ended = [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children]
    with os.fdopen(pipe) as told:
        said = told.read().splitlines()
    own = {"killed": -signal.SIGKILL, "fails": 3, "leaves": 0}[how]
    assert ended == [own if rank == who else int(how != "leaves") for rank in range(3)]
    what = "was killed, or its machine is gone" if how == "killed" else "ended by an error"
    assert said == [f"process {who} of 3 {what}"] * (how != "leaves")
