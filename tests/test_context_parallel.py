"""Tokens of one sample on several processes are those of one."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from commands import ROOMS, fit, rows, run
from test_distill import network
from test_parallel import FSDP2, each, ranks, rolled, student
from tiny import conditioning, latents, model

from cf.models.context_parallel import Split
from cf.models.masks import TeacherForcing
from cf.models.transformer import VideoTransformer


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network to start from."""
    return fit(tmp_path_factory.mktemp("start") / "run", *ROOMS)


@pytest.mark.slow
@pytest.mark.whole
def test_processes_that_share_samples_are_one(start: Path, tmp_path: Path) -> None:
    """FSDP2 with the tokens of each sample on both processes, which see the same batch."""
    given = student(start, "trainer.max_steps=3", "data.batch_size=4")
    done = run("cf.fit", *given, "trainer.precision=64-true", f"hydra.run.dir='{tmp_path / 'one'}'")
    assert done.status == 0, done.told
    two = (*FSDP2, "trainer.strategy.context_parallel=2", f"hydra.run.dir='{tmp_path / 'two'}'")
    with ranks(2, tmp_path, *given, *two) as running:
        assert [one.ended(300) for one in running] == [0, 0], (tmp_path / "0.log").read_text()
    for mine, theirs in zip(rows(tmp_path / "two"), rows(tmp_path / "one"), strict=True):
        for name in (name for name in theirs if name.startswith("train/") and theirs[name]):
            assert float(mine[name]) == pytest.approx(float(theirs[name]), rel=1e-6), name
    weights = network(tmp_path / "one")
    for name, mine in network(tmp_path / "two").items():
        torch.testing.assert_close(mine, weights[name], rtol=0, atol=1e-6)


def paths(student: VideoTransformer) -> list[torch.Tensor]:
    """A rollout's loss, a masked forward's and a bidirectional one's, each with its gradient."""
    mask = TeacherForcing(2, None, 0, None, 4)
    x, t = latents(2, 4, seed=5), torch.rand(2, 4, dtype=torch.float64)
    t = torch.linspace(0.2, 0.9, 8, dtype=torch.float64).reshape(2, 4)
    cond = conditioning(2, 4)
    rows, times = torch.cat((x, x.flip(1)), 1), torch.cat((torch.zeros_like(t), t), 1)
    found = []
    for loss in (
        rolled(student),
        student(rows, times, cond, mask=mask).velocity[:, 4:].square().mean(),
        student(x, t, cond).velocity.square().mean(),
    ):
        loss.backward()
        found += [loss.detach(), *(p.grad.clone() for p in student.parameters())]
    return found


@pytest.mark.whole
@pytest.mark.parametrize("checkpointing", [True, pytest.param(False, marks=pytest.mark.exhaustive)])
def test_tokens_on_two_processes_are_those_of_one(checkpointing: bool, tmp_path: Path) -> None:
    """Losses are equal, and the mean of the gradients of both is the gradient."""
    expected = paths(model(activation_checkpointing=checkpointing))

    def work(rank: int) -> None:
        student = model(activation_checkpointing=checkpointing)
        assert torch.distributed.group.WORLD is not None
        student.split = Split(torch.distributed.group.WORLD)
        for mine, theirs in zip(paths(student), expected, strict=True):
            torch.distributed.all_reduce(mine)
            torch.testing.assert_close(mine / 2, theirs, rtol=1e-9, atol=1e-12)

    each(2, tmp_path, work)


def test_what_cannot_be_spread_is_refused() -> None:
    group = SimpleNamespace(size=lambda: 3, rank=lambda: 0)
    split = Split(group)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"context_parallel=3 must divide the network's 2 heads"):
        split.to_heads(torch.zeros(1, 4, 2, 6), 1)
    with pytest.raises(ValueError, match=r"context_parallel=3 must divide the 4 tokens"):
        split.rows(torch.zeros(1, 4, 2), 1)
