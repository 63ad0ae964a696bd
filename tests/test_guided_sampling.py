"""Guidance by a network while sampling: away from a weaker one, or from itself without a past."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
import tiny
import torch
from playing import SIZES, SWITCHES, run_of_rooms, settings_of
from tiny import conditioning, draw, latents, memory, model
from torch import Tensor

import cf
from cf.bench.contestants.controls import Spoilt
from cf.bench.contestants.network import Network
from cf.bench.contestants.untrained import untrained
from cf.bench.tasks.prompts import Prompts
from cf.generation.record import Record
from cf.memory.base import Query
from cf.models.base import NOTHING, Backbone, Prepared
from cf.models.checkpoints import read_export, save_export
from cf.models.guided import Guided, GuidedByNetwork
from cf.models.masks import Mask
from cf.models.wrapped import WrappedBackbone
from cf.models.writer import WithWriter
from cf.objectives.teacher import check_teacher
from cf.playing.maker import Maker, Wish
from cf.rollout import Rollout
from cf.rollout.rolling import Rolling
from cf.rollout.state import START
from cf.runs.generator import load
from cf.runs.outline import Way, parts_of
from cf.runs.plan import plan_generation
from cf.runs.same_latents import refuse_other_latents
from cf.types import Conditioning, Context, Latents, Prediction, Times

EXACT: dict[str, float] = {"rtol": 1e-9, "atol": 1e-9}
SCALE, TIMES = 2.5, (0.8, 0.95)
Guide = Literal["weaker", "itself"]


def made(
    rollout: Rollout, network: Backbone, cond: Conditioning, blocks: int, samples: Any = (0, 1)
) -> Tensor:
    """Blocks of a stream."""
    noise = rollout.noise(network, 7, samples)
    stream = rollout.stream(network, noise, cond)
    return torch.cat([x0.clone() for x0, _ in islice(stream, blocks)], 1)


def pair(guide: Guide, dtype: torch.dtype = torch.float64) -> tuple[Backbone, Backbone]:
    """A network and its guide."""
    network = model(dtype)
    return network, network if guide == "itself" else model(dtype, seed=5)


@pytest.mark.parametrize("sampler", ["euler", "renoise"])
@pytest.mark.parametrize("policy", ["full", "sliding", "slow_fast"])
@pytest.mark.parametrize("guide", ["weaker", "itself"])
@torch.no_grad()
def test_a_guided_rollout_is_a_loop_written_from_the_definition(
    guide: Guide, policy: str, sampler: Any
) -> None:
    network, weaker = pair(guide)
    cond, rollout = conditioning(2, 15, origin=True), Rollout(memory(policy), num_steps=3)
    rollout = replace(rollout, sampler=sampler, context_noise=0.1)
    assert [TIMES[0] <= t <= TIMES[1] for t in rollout.times] == [False, True, False]
    guided = GuidedByNetwork(network, weaker, SCALE, TIMES)
    noise, context = rollout.noise(network, 7, (0, 1)), Context()
    asked: list[None] = []
    with weaker.register_forward_hook(lambda *_: asked.append(None)):
        found = made(rollout, guided, cond, 5)
        if guide == "weaker":  # once a block: neither at other times nor of what is committed
            assert len(asked) == 5
            rollout.remember(guided, latents(2, 6), noise, cond)
            assert len(asked) == 5
    for start in range(0, 15, 3):
        part = cond.frames(start, start + 3)
        past = network.prepare(rollout.memory.read(context, Query(3, part)), part)
        x = noise(start, 0).double()
        for step, (t, to) in enumerate(pairwise([*rollout.times, 0.0])):
            at = torch.full((2, 3), t, dtype=torch.float64)
            velocity = network(x, at, part, past).velocity
            if TIMES[0] <= t <= TIMES[1]:
                other = weaker(x, at, part).velocity
                velocity = other + SCALE * (velocity - other)
            x0 = x - t * velocity
            x = x0
            if to:
                eps = velocity + x0 if sampler == "euler" else noise(start, step + 1).double()
                x = (1 - to) * x0 + to * eps
        torch.testing.assert_close(found[:, start : start + 3], x0, **EXACT)
        read = 0.9 * x0 + 0.1 * noise(start, 3).double()
        block = network(read, torch.full((2, 3), 0.1, dtype=torch.float64), part, past).block
        context = rollout.memory.update(context, block)


class Plain(WrappedBackbone):
    """The definition, frame by frame, without anything that is prepared."""

    def __init__(self, network: Backbone, guide: Backbone) -> None:
        super().__init__(network)
        self.guide = guide

    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        own, other = self.network(x_t, t, cond, past), self.guide(x_t, t, cond).velocity
        velocity = own.velocity.clone()
        for i, times in enumerate(t.tolist()):
            for j, time in enumerate(times):
                if TIMES[0] <= time <= TIMES[1]:
                    velocity[i, j] = other[i, j] + SCALE * (own.velocity[i, j] - other[i, j])
        return Prediction(velocity, own.block)


ROLLOUTS: dict[str, Rollout] = {
    "unipc": Rollout(memory("sliding"), num_steps=4, sampler="unipc"),
    "dpm++": Rollout(memory("full"), num_steps=4, sampler="dpm++"),
    "rolling": Rolling(memory("anchor")),
    "queries": Rollout(memory("participative"), num_steps=3),
    "released": Rollout(memory("sliding_relative"), num_steps=3),
    "first steps": Rollout(memory("quantised"), num_steps=2, first_steps=5),
}


@pytest.mark.parametrize("name", ROLLOUTS)
@torch.inference_mode()
def test_every_rollout_is_guided_by_the_same_definition(name: str) -> None:
    """And a batch is its samples."""
    network, weaker = pair("weaker")
    rollout, cond = ROLLOUTS[name], conditioning(2, 45)
    guided = GuidedByNetwork(network, weaker, SCALE, TIMES)
    both = made(rollout, guided, cond, 6)
    torch.testing.assert_close(both, made(rollout, Plain(network, weaker), cond, 6), **EXACT)
    assert not torch.allclose(both, made(rollout, network, cond, 6))
    for i in range(2):
        alone = made(rollout, guided, tiny.one(cond, i), 6, (i,))
        torch.testing.assert_close(alone, both[i : i + 1], **EXACT)


@pytest.mark.parametrize("policy", ["full", "sliding", "slow_fast"])
@pytest.mark.parametrize("guide", ["weaker", "itself"])
@torch.inference_mode()
def test_a_scale_of_one_and_times_without_a_step_give_the_unguided_bits(
    guide: Guide, policy: str
) -> None:
    network, weaker = pair(guide, torch.float32)
    cond = conditioning(2, 30, dtype=torch.float32)
    rollout = Rollout(memory(policy), num_steps=3)
    plain = made(rollout, network, cond, 10)
    for scale, times in ((1.0, (0.0, 1.0)), (SCALE, (0.2, 0.3))):
        guided = GuidedByNetwork(network, weaker, scale, times)
        assert torch.equal(made(rollout, guided, cond, 10), plain)


@torch.inference_mode()
def test_a_network_without_its_past_changes_nothing_where_there_is_none() -> None:
    """The first block is the unguided one; after given frames, the first new one is guided."""
    network, cond, rollout = model(), conditioning(1, 9), Rollout(memory("full"), num_steps=3)
    guided = GuidedByNetwork(network, network, SCALE)
    plain, other = (made(rollout, one, cond, 3, (0,)) for one in (network, guided))
    assert torch.equal(plain[:, :3], other[:, :3])
    assert not torch.allclose(plain[:, 3:6], other[:, 3:6])
    noise, seen = rollout.noise(network, 7, (0,)), latents(1, 3)
    states = [rollout.remember(one, seen, noise, cond, START) for one in (network, guided)]
    layers = [[*state.context.layers] for state in states]
    for a, b in zip(*layers, strict=True):
        assert torch.equal(a.k, b.k)
        assert torch.equal(a.v, b.v)
    nexts = [
        next(rollout.stream(one, noise, cond, state))[0]
        for one, state in zip((network, guided), states, strict=True)
    ]
    assert not torch.allclose(*nexts)


@pytest.mark.parametrize("name", ["dpm++", "rolling", "queries"])
@torch.inference_mode()
def test_a_guided_stream_that_is_taken_up_again_is_one_stream(name: str) -> None:
    network, weaker = pair("weaker")
    guided, cond = GuidedByNetwork(network, weaker, SCALE, TIMES), conditioning(1, 45)
    rollout = ROLLOUTS[name]
    whole, noise = made(rollout, guided, cond, 6, (0,)), rollout.noise(guided, 7, (0,))
    first = list(islice(rollout.stream(guided, noise, cond), 3))
    rest = islice(rollout.stream(guided, noise, cond, first[-1][1].fork()), 3)
    again = torch.cat([x0 for x0, _ in (*first, *rest)], 1)
    torch.testing.assert_close(again, whole, **EXACT)


@torch.inference_mode()
def test_text_guides_within_its_times_too() -> None:
    network, rollout = model(), Rollout(memory("full"), sampler="euler", num_steps=3)
    asked, negative = conditioning(1, 6), conditioning(1, 6, seed=9)
    pairs = zip((asked.text, asked.control), (negative.text, negative.control), strict=True)
    cond = Conditioning(*(torch.cat(two) for two in pairs))  # type: ignore[arg-type]
    plain = made(rollout, network, asked, 2, (0,))
    none, some, always = (
        made(rollout, Guided(network, SCALE, times), cond, 2, (0,))
        for times in ((0.0, 0.1), TIMES, (0.0, 1.0))
    )
    torch.testing.assert_close(none, plain, **EXACT)
    assert not torch.allclose(some, plain)
    assert not torch.allclose(some, always)


@torch.inference_mode()
def test_what_a_writer_remembers_stays_its_own_under_guidance() -> None:
    """Of two networks that share a rollout, and of either guidance."""
    student, cond = WithWriter(model(), model(seed=3)), conditioning(1, 3)
    rollout, seen = Rollout(memory("full")), latents(1, 3)
    noise = rollout.noise(student, 0, (0,))
    twice = Conditioning(*(x if x is None else x.repeat(2, 1, 1) for x in vars(cond).values()))
    plain = rollout.remember(student, seen, noise, cond).context.layers
    for one, told in (
        (GuidedByNetwork(student, model(seed=5), SCALE), cond),
        (Guided(student, SCALE), twice),
    ):
        held = rollout.remember(one, seen, noise, told).context.layers
        for a, b in zip(plain, held, strict=True):
            torch.testing.assert_close(a.k, b.k[:1], **EXACT)
    check_teacher(student, model(seed=3))  # it knows of its text as a single network does
    with pytest.raises(ValueError, match="text_dim"):
        check_teacher(student, model(text_dim=None))


# Commands


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network, and another one to guide it."""
    place = tmp_path_factory.mktemp("runs")
    weaker = place / "weaker"
    network = run_of_rooms(place / "network")
    run_of_rooms(weaker, dim=36, num_heads=3, num_layers=1)
    return network, weaker


def guided_by(run: Path, guide: Any, **more: Any) -> dict[str, Any]:
    """Settings with guidance."""
    settings = settings_of(run)
    sampling = {"guide": str(guide) if isinstance(guide, Path) else guide, "guidance": 2.0, **more}
    return {**settings, "sampling": {**settings["sampling"], **sampling}}


def test_settings_load_a_guide_of_its_own_sizes(runs: tuple[Path, Path]) -> None:
    network, weaker = runs
    plain = load(settings_of(network))
    other = load(settings_of(weaker)).network
    cond = Conditioning(control=draw(1, 6, 3).float())
    for guide, within in ((weaker, other), ("own", plain.network)):
        found = load(guided_by(network, guide, guidance_times=[0.2, 1]))
        expected = GuidedByNetwork(plain.network, within, 2.0, (0.2, 1.0))
        with torch.inference_mode():
            videos = [made(plain.rollout, n, cond, 2, (0,)) for n in (found.network, expected)]
        assert torch.equal(*videos)
        assert found.negative is None


class WithCamera(Prompts):
    """Videos for which as much is told of the camera as the networks here are told."""

    control_width = SIZES["control_dim"]


@pytest.mark.parametrize(
    ("sampling", "sizes", "message"),
    [
        ({"guide": "nowhere"}, {}, "nowhere"),
        ({}, {"latent_shape": [4, 16, 16]}, "the guide's latent channels is 4 and the network's 3"),
        ({}, {"control_dim": 2}, "control_dim is 2 and the network's 3.*sampling.guide="),
        ({"guidance": 1}, {}, "weaker is for guidance: give sampling.guidance=2"),
        ({"guidance": None}, {}, "weaker is for guidance: give sampling.guidance=2"),
        ({"guidance": "high"}, {}, "sampling.guidance must be a number from 0 to 1000 or null"),
        ({"guide": 5}, {}, "sampling.guide must be a path or one of own or null, got 5"),
        ({"guide": None}, {}, "sampling.guide=own"),
        ({"guide": None, "guidance": 1, "guidance_times": [0.6, 1]}, {}, "is for guidance"),
        ({"guidance_times": [0.9, 0.5]}, {}, r"guidance_times=\[0.9, 0.5\] must be \[least, most"),
        ({"guidance_times": [0, 0.1]}, {}, "hold none of the times at which this network is asked"),
        (
            {"guidence": 2},
            {},
            "there is no setting 'sampling.guidence'; did you mean sampling.guidance",
        ),
        ({"guidance_times": 0.6}, {}, r"\[least,most\], times from 0 to 1"),
        ({"guidance_times": [0.6, 2]}, {}, r"\[least,most\], times from 0 to 1"),
        ({"negative_prompt": "mush"}, {}, "leave one of them out"),
    ],
)
def test_what_cannot_guide_is_refused_before_weights_are_read(
    sampling: dict[str, Any],
    sizes: dict[str, Any],
    message: str,
    runs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a contestant of a benchmark too, whose settings nobody has looked at before."""
    network, guide = runs
    if sizes:
        guide = run_of_rooms(tmp_path / "weaker", **sizes)
    monkeypatch.setattr("cf.models.checkpoints.load_weights", lambda *_: pytest.fail("read"))
    settings = guided_by(network, **{"guide": guide, **sampling})
    contestant = Network(checkpoint=str(network), sampling=settings["sampling"])
    spelled = {
        "_target_": "cf.bench.contestants.network.Network",
        "checkpoint": str(network),
        "sampling": settings["sampling"],
        "_recursive_": False,
    }
    task = WithCamera("")
    for refuse in (
        lambda: load(settings),
        lambda: contestant.check_task(task),
        lambda: Spoilt(of=spelled).check_task(task),
    ):
        with pytest.raises(ValueError, match=message) as told:
            refuse()
        assert "\n" not in str(told.value)


def test_a_guide_that_is_not_there_is_told_by_the_command(refused: Callable[..., str]) -> None:
    typed = ("sampling.guidance=2", "sampling.guide=nowhere")
    told = refused("cf.generate", "checkpoint=.", *typed)
    assert "sampling.guide=nowhere is not a file or folder" in told
    assert "sampling.guide" not in refused(
        "cf.generate", "checkpoint=.", typed[0], "sampling.guide=own"
    )


def test_weights_of_another_network_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    """A file that says nothing of itself is of the network's own model."""
    torch.save(model(torch.float32, **{**SIZES, "num_layers": 1}).state_dict(), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt"):
        load(guided_by(runs[0], tmp_path / "a.pt"))
    same = model(torch.float32, seed=4, **{**SIZES, "text_dim": None})
    torch.save(same.state_dict(), tmp_path / "b.pt")
    load(guided_by(runs[0], tmp_path / "b.pt"))


@pytest.mark.whole
def test_a_guide_of_the_latents_of_another_codec_is_refused(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    """Of as many channels as the network's, which once was all that was compared."""
    config, weights = read_export(runs[1] / "network.safetensors")
    codecs = [
        {"_target_": "cf.models.autoencoder.VideoAutoencoder.from_file", "file": one}
        for one in ("shipped:codec", str(tmp_path))
    ]
    save_export(tmp_path / "network.safetensors", weights, {**config, "codec": codecs[0]})
    with pytest.raises(
        ValueError, match=r"sampling.guide=.* of codec.file=shipped:codec, .* those of PixelCodec"
    ):
        load(guided_by(runs[0], tmp_path))
    own = str(Path(cf.__file__).parent / "shipped" / "codec")
    refuse_other_latents(str(tmp_path), {**codecs[0], "file": own}, "start.guide.path")
    with pytest.raises(ValueError, match=f"start.guide.path=.* those of codec.file={tmp_path}"):
        refuse_other_latents(str(tmp_path), codecs[1], "start.guide.path")
    gone = {**codecs[1], "file": str(tmp_path / "gone")}
    refuse_other_latents(str(tmp_path), gone, "start.guide.path")  # of which nothing is known


def test_a_plan_counts_the_guide(runs: tuple[Path, Path]) -> None:
    def planned(guide: Any) -> Any:
        settings = guided_by(runs[0], guide, guidance=1.0 if guide is None else 2.0)
        more = {"samples": 1, "seconds": 1, "checkpoint": str(runs[0]), "model": None}
        settings |= more
        return plan_generation(settings, parts_of(settings))

    plain, itself, weaker = planned(None), planned("own"), planned(runs[1])
    sizes = [sum(x.nbytes for x in load(settings_of(one)).network.parameters()) for one in runs]
    assert plain.network == itself.network == sizes[0]
    assert weaker.network == sum(sizes)
    assert plain.denoise < itself.denoise
    assert plain.held == itself.held


def test_the_weights_of_a_guide_belong_to_a_finished_video(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    """Of a benchmark, of a folder of videos and of a session; nothing changes without one."""
    network, weaker = runs
    guide = run_of_rooms(tmp_path / "guide")
    told = {"guide": str(guide), "guidance": 2.0}
    plain, own, one = (
        Network(checkpoint=str(network), sampling=sampling).fingerprint()
        for sampling in ({}, {"guide": "own", "guidance": 2.0}, told)
    )
    assert plain == own == one.partition("+")[0] != one
    settings = {**guided_by(network, guide), "prompts": []}
    folder = tmp_path / "out"
    folder.mkdir()
    Record(folder, settings).write(load(settings), {})
    Record(folder, settings)
    maker = Maker.loaded(guided_by(network, guide), {}, SWITCHES)
    session = maker.session(Wish(("own",)))
    session.start()
    session.step()
    maker.played(session).write(tmp_path / "session.json")
    again = replayed(tmp_path / "session.json", guide)
    assert again.network["sampling"]["guide"] == str(guide)
    (guide / "network.safetensors").write_bytes((weaker / "network.safetensors").read_bytes())
    assert Network(checkpoint=str(network), sampling=told).fingerprint() != one
    with pytest.raises(ValueError, match=r"other weights, though sampling\.guide= is the same"):
        Record(folder, settings)
    with pytest.raises(ValueError, match="other weights than those that guided the session"):
        replayed(tmp_path / "session.json", None)


def replayed(session: Path, guide: Path | None) -> Maker:
    """What plays a recorded session again."""
    from cf.playing.record import read_played
    from cf.playing.replay import _maker

    sampling = {"guide": None if guide is None else str(guide)}
    how = {"offload": "none", "tile": None, "card_gb": None, "checkpoint": None, "device": "cpu"}
    return _maker({**how, "sampling": sampling}, read_played(session))


def test_a_contestant_that_lacks_its_guide_is_missing(runs: tuple[Path, Path]) -> None:
    told = {"guide": "nowhere/base", "guidance": 2.0}
    assert (
        "sampling.guide: nowhere/base not found"
        in Network(checkpoint=str(runs[0]), sampling=told).missing()
    )
    assert Network(checkpoint=str(runs[0]), sampling={**told, "guide": "own"}).missing() == ""
    assert Network(sampling={**told, "guide": "own"}).negative() == []
    assert Network(sampling={"guidance": 2.0}).negative() == [""]


def test_an_untrained_network_is_guided_as_well(runs: tuple[Path, Path]) -> None:
    settings = {**guided_by(runs[0], runs[1]), **parts_of(settings_of(runs[0]))}
    settings["memory"] = settings["rollout"]["memory"]
    settings["offload"] = None
    assert isinstance(untrained(settings, 0).network, GuidedByNetwork)


def test_a_way_without_guidance_leaves_the_network_as_it_is() -> None:
    network = model()
    assert Way(Rollout(memory("full")), None).guided(network) is network  # type: ignore[arg-type]
