"""Backends of optical flow and interpolation, and how flow is read."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from films import pan, result, walk
from torch import Tensor
from torchvision.models.optical_flow import raft_large

from cf.metrics.motion.flow import Dis, Farneback, Flow
from cf.metrics.motion.flow_raft import torchvision_names
from cf.metrics.motion.interpolation import Supplied
from cf.metrics.motion.motion import flow_named
from cf.metrics.motion.motion_field import MotionField
from cf.metrics.motion.motion_smoothness import MotionSmoothness
from cf.metrics.motion.motion_smoothness_vbench import MotionSmoothnessVBench
from cf.metrics.motion.static_fraction import StaticFraction
from cf.metrics.motion.temporal_flicker import TemporalFlicker


def test_backends_that_cannot_be_had_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose dis, farneback or raft-things"):
        MotionSmoothness("pwc")
    with pytest.raises(ValueError, match=r"given no weights.*take flow='dis'"):
        MotionSmoothness("raft-things")
    with pytest.raises(ValueError, match=r"found no weights at .*absent\.pth"):
        MotionSmoothness("raft-things", weights=tmp_path / "absent.pth")
    with pytest.raises(ValueError, match="takes no weights"):
        MotionSmoothness("dis", weights="some.pth")
    with pytest.raises(ValueError, match=r"amt-s.*non-commercial.*Supplied"):
        MotionSmoothnessVBench("amt-s")
    with pytest.raises(ValueError, match="choose linear, dis"):
        MotionSmoothnessVBench("rife")
    with pytest.raises(ValueError, match="8 x 30 pixels are too small for dis flow"):
        StaticFraction().update(torch.rand(3, 3, 8, 30), 0, fps=8)


def test_a_supplied_interpolator_is_used_and_named() -> None:
    metric = MotionSmoothnessVBench(Supplied("amt-s", lambda one, _: one, "copies the first"))
    frames = walk(1)
    answer = result(metric, frames)
    steps = [np.mean(cv2.absdiff(frames[i].numpy(), frames[i + 1].numpy())) for i in (0, 2, 4)]
    assert answer.name == "vbench_motion_smoothness[amt-s]"
    assert answer.provenance["described"] == "copies the first"
    assert answer.value == pytest.approx(1 - np.mean(steps) / 255, abs=2e-3)  # and 254.99 is cut
    wrong = MotionSmoothnessVBench(Supplied("half", lambda one, _: one[:, ::2], ""))
    with pytest.raises(ValueError, match="must keep the shape"):
        wrong.update(frames, 0, fps=8)


def test_interpolation_along_flow_beats_a_fade_on_a_pan() -> None:
    fade, flow = (result(MotionSmoothnessVBench(by), pan(2)).value for by in ("linear", "dis"))
    assert 1 - flow < 0.6 * (1 - fade)


@pytest.mark.parametrize("flow", [Dis(), Farneback()])
def test_flow_leads_where_things_went(flow: Flow) -> None:
    one, other = (frame.permute(1, 2, 0).contiguous().numpy() for frame in pan(0.5)[:2])
    found = flow(one, other)[8:-8, 8:-8]
    assert np.abs(found - [-1.5, 0]).mean() < 0.1
    threads = cv2.getNumThreads()
    assert (flow(one, other)[8:-8, 8:-8] == found).all()
    assert cv2.getNumThreads() == threads


def authors_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of the authors' RAFT for torchvision's, written out from its modules."""
    named = {}
    blocks = {"convnormrelu1.0": "conv1", "convnormrelu2.0": "conv2"}
    norms = {"convnormrelu1.1": "norm1", "convnormrelu2.1": "norm2"}
    motion = {"convcorr1.0": "convc1", "convcorr2.0": "convc2", "convflow1.0": "convf1"}
    motion |= {"convflow2.0": "convf2", "conv.0": "conv"}
    for name, value in state.items():
        new = name
        for prefix, short in (("feature_encoder", "fnet"), ("context_encoder", "cnet")):
            if name.startswith(prefix):
                new = new.replace(prefix, short)
                for long, brief in (blocks | norms).items():
                    new = new.replace(long, brief)
                new = new.replace("convnormrelu.0", "conv1").replace("convnormrelu.1", "norm1")
                new = new.replace(f"{short}.conv.", f"{short}.conv2.")
        for long, brief in motion.items():
            new = new.replace(f"motion_encoder.{long}.", f"encoder.{brief}.")
        for turn in "12":
            for gate in "zrq":
                new = new.replace(
                    f"recurrent_block.convgru{turn}.conv{gate}.", f"gru.conv{gate}{turn}."
                )
        new = new.replace("mask_predictor.convrelu.0.", "update_block.mask.0.")
        new = new.replace("mask_predictor.conv.", "update_block.mask.2.")
        named["module." + new] = value
        if "cnet" in new and "downsample.1" in new:
            named["module." + new.replace("downsample.1", "norm3")] = value
    return named


@pytest.mark.whole
def test_raft_reads_both_published_formats(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = raft_large(weights=None).eval()
    state = network.state_dict()
    theirs = authors_names(state)
    assert "module.fnet.layer2.0.downsample.0.weight" in theirs
    assert "module.cnet.layer3.0.norm3.running_mean" in theirs
    assert "module.update_block.gru.convq2.bias" in theirs
    assert "module.update_block.flow_head.conv2.weight" in theirs
    back = torchvision_names(theirs)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    torch.save(theirs, tmp_path / "raft-things.pth")
    flow = flow_named("raft-things", tmp_path / "raft-things.pth")
    random = np.random.default_rng(0)
    one, other = (random.integers(0, 256, (128, 132, 3), np.uint8) for _ in range(2))
    pair = [
        torch.nn.functional.pad(
            torch.from_numpy(x).permute(2, 0, 1)[None] / 127.5 - 1, (2, 2, 0, 0), mode="replicate"
        )
        for x in (one, other)
    ]
    with torch.no_grad():
        expected = network(*pair, num_flow_updates=20)[-1][0, :, :, 2:-2].permute(1, 2, 0)
    assert np.allclose(flow(one, other), expected.numpy(), atol=1e-4)
    assert flow(one[:40, :64], other[:40, :64]).shape == (40, 64, 2)
    assert len(flow.provenance()["weights_sha256"]) == 64
    torch.save({"wrong": torch.zeros(1)}, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match="holds no weights of RAFT large"):
        flow_named("raft-things", tmp_path / "wrong.pth")


def test_frames_are_shrunk_and_never_enlarged() -> None:
    field = MotionField()
    for given, kept in (((600, 300), (512, 256)), ((64, 96), (64, 96))):
        metric = StaticFraction()
        metric.update(torch.rand(3, 3, *given), 0, fps=8)
        run = next(metric._table().unpacked())
        assert tuple(run.head.shape[2:]) == kept
    assert field.side == 256


def test_a_curve_has_a_number_per_window() -> None:
    answer = result(TemporalFlicker(), walk(6))
    assert answer.windows[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(answer.per_window[0]) == 6
    assert answer.value == pytest.approx(float(answer.per_window[0].mean()), rel=0.02)
    with pytest.raises(ValueError, match="window=0 must be"):
        TemporalFlicker(window=0)
