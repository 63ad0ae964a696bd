"""What a training takes of a card: counted on shapes, compared with what the allocator gives."""

from pathlib import Path

import pytest
import torch
from commands import give
from tiny import model
from training_memory import CASES, counted, measured, settings_of

from cf.models.allocated import Allocated
from cf.objectives.forcing import DiffusionForcingLoss, ForcingLoss, TeacherForcingLoss
from cf.objectives.score import Memoryless
from cf.runs.training_plan import check_training, planned_training

pytestmark = pytest.mark.whole


def test_what_is_counted_of_a_distillation_is_what_the_allocator_gives() -> None:
    settings = settings_of(*CASES["self_forcing"])
    assert counted(settings) == pytest.approx(measured(settings), rel=0.1)


@pytest.mark.parametrize("start", ["start by consistency", "start by regression"])
def test_a_start_is_counted_as_the_allocator_has_it(start: str) -> None:
    settings = settings_of(*CASES[start])
    assert counted(settings) == pytest.approx(measured(settings), rel=0.1)
    roles = planned_training(settings).roles
    assert roles["teacher: weights"] == roles["student: weights"]


@pytest.mark.slow
def test_roles_are_those_of_the_weights_and_shards_share_them() -> None:
    settings = settings_of(*CASES["self_forcing"])
    plan = planned_training(settings)
    weights = plan.roles["student: weights"]
    assert weights == plan.roles["critic: weights"] == plan.roles["average of weights"]
    assert plan.roles["student: gradients"] == weights
    assert plan.roles["student: optimiser"] == pytest.approx(2 * weights, rel=0.01)  # AdamW
    strategy = {"_target_": "cf.modules.fully_shard.FullyShard"}
    sharded = {**settings, "trainer": {**settings["trainer"], "strategy": strategy}}
    assert planned_training(sharded, 4).roles["student: optimiser"] == (
        plan.roles["student: optimiser"] // 4
    )
    said = check_training(plan, plan.peak - 1, settings, 1)
    assert "with model.activation_checkpointing=true" in said
    assert check_training(plan, plan.peak, settings, 1).startswith("it fits")


def test_the_guide_of_a_teacher_is_counted_with_what_it_takes() -> None:
    """No path is needed for that; at the same time of a step both networks read the past."""
    own, guided = (
        planned_training(settings_of(*CASES["self_forcing"], *more))
        for more in ([], ["guide=full_history", "score.guidance=2"])
    )
    assert guided.roles["guide: weights"] == guided.roles["teacher: weights"]
    assert "guide: weights" not in own.roles
    assert guided.activations["scoring"] >= own.activations["scoring"]


@pytest.mark.slow
def test_blocks_of_a_critic_with_a_head_are_counted_as_shards() -> None:
    small = CASES["self_forcing"][1:]
    judged = ("objective=adversarial_dmd", "module.real_share=0.5", "trainer=fsdp2")
    plain, judging = (
        planned_training(settings_of("experiment=self_forcing", *more, *small), 2)
        for more in (("trainer=fsdp2",), judged)
    )
    ends, blocks = "gathered ends of networks", "gathered blocks"
    assert judging.roles[blocks] == plain.roles[blocks]
    assert judging.roles[ends] > plain.roles[ends], "the head is no block"


def test_an_image_to_video_training_is_counted_with_its_encoder() -> None:
    """CLIP as Wan2.1-I2V has it: 631 million numbers; the picture's weights are the student's."""
    plain = settings_of(*CASES["pretrain"], "+model.text_dim=4", "+model.text_len=3")
    more = ["+model.reference_channels=7", "+model.image_dim=1280", "image_encoder=clip"]
    more += ["+model.text_dim=4", "+model.text_len=3"]
    plan = planned_training(settings_of(*CASES["pretrain"], *more))
    assert plan.roles["image encoder"] == pytest.approx(4 * 631e6, rel=0.01)
    without = planned_training(plain)
    assert "image encoder" not in without.roles
    assert plan.roles["student: weights"] > without.roles["student: weights"]
    assert plan.activations["held"] > without.activations["held"]


def test_a_plan_is_told_and_nothing_is_trained(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = f"hydra.run.dir='{tmp_path / 'run'}'"
    give("cf.fit", *CASES["pretrain"], "plan=true", "card_gb=0.5", run)
    said = capfd.readouterr()
    assert "student: optimiser" in said.out + said.err
    assert "the card has 0.50" in said.out + said.err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_score_holds_no_keys_of_all_layers() -> None:
    """Nobody reads them; of a teacher of 14B parameters they would be .7 GB a layer."""
    shape = {"latent_shape": (2, 16, 16), "control_dim": None}
    x, t = latents_of(2, 6), torch.full((2, 6), 0.5)
    peaks = []
    for layers in (2, 8):
        network = model(torch.float32, num_layers=layers, **shape)  # type: ignore[arg-type]
        cond = network.fake_conditioning(2, 6)
        with torch.no_grad():
            told = Memoryless(network).predict(x, t, cond, x)
            assert torch.equal(told, network(x, t, cond).velocity)
            with Allocated("cpu") as count:
                Memoryless(network).predict(x, t, cond, x)
        peaks.append(count.peak)
    one = 2 * 6 * 64 * 24 * 2 * 4  # bytes of a layer's keys and values
    assert peaks[1] - peaks[0] < 2 * one  # of six layers more


@pytest.mark.parametrize("loss", [TeacherForcingLoss, DiffusionForcingLoss])
def test_a_pre_training_holds_no_keys_of_all_layers(loss: type[ForcingLoss]) -> None:
    """Of Wan2.1-1.3B and clips of five seconds they would be 12 GB."""
    peaks = []
    for layers in (2, 8):
        network = model(torch.float32, num_layers=layers, latent_shape=(2, 16, 16))
        x, cond = latents_of(2, 6), network.fake_conditioning(2, 6)
        loss().measured(network, x, cond, torch.Generator().manual_seed(0))  # makes the mask
        with torch.no_grad(), Allocated("cpu") as count:
            loss().measured(network, x, cond, torch.Generator().manual_seed(0))
        peaks.append(count.peak)
    one = 2 * 6 * 64 * 24 * 2 * 4  # bytes of a layer's keys and values, clean frames left out
    assert peaks[1] - peaks[0] < 2 * one  # of six layers more


def latents_of(batch: int, frames: int) -> torch.Tensor:
    return torch.randn(batch, frames, 2, 16, 16, generator=torch.Generator().manual_seed(0))


LONG = (
    "data=videos",
    "data.folder=.",
    "data.clip_frames=36",
    "data.size=[64,64]",
    "data.batch_size=1",
)
PACKED = ("objective=packed_forcing", "objective.target_frames=6", "data.clip_frames=36")


@pytest.mark.parametrize("form", [LONG, (*LONG, *PACKED)], ids=["teacher_forcing", "packed"])
def test_layers_that_are_not_tried_take_as_much_as_those_that_are(
    form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mask over all tokens of a clip is no layer's, and a GPU never spells it out."""
    settings = settings_of(*form, "model.latent_shape=[3,64,64]", "model.num_layers=6")
    told = planned_training(settings).activations
    monkeypatch.setattr("cf.runs.training_plan._LAYERS", (6,))
    assert told == pytest.approx(planned_training(settings).activations, rel=0.02)


def test_errors_that_are_recycled_are_counted_as_the_longest_history() -> None:
    """Whatever history a draw would give; a bank of errors holds numbers, and there are none."""
    packed = settings_of(*LONG, *PACKED)
    recycled = settings_of(*LONG, "objective=error_recycling", *PACKED[1:])
    told = planned_training(packed).activations
    assert planned_training(recycled).activations == told
    assert planned_training({**packed, "seed": 5}).activations == told
    long = {**packed["module"]["objective"], "context": [30, 30]}
    longest = {**packed, "module": {**packed["module"], "objective": long}}
    assert planned_training(longest).activations == told
