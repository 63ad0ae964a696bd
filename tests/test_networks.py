"""Networks of published weights: the values of before they came from a library."""

from pathlib import Path
from typing import Any

import pytest
import tiny_weights
import torch
from torch import Tensor

from cf.metrics.extractors.clip import clip_network
from cf.metrics.extractors.dino import class_token, vision_transformer
from cf.metrics.extractors.files import read_state
from cf.metrics.extractors.names import clip_names, dino_names

pytest.importorskip("transformers")

# Every 16th feature of two pictures or texts, computed by the networks that this project wrote by
# hand from the papers and compared with transformers' until version 0.1.
OLD = {
    "dino": """0.71779 0.73942 -1.72487 2.00796 0.7553 0.41996 -0.06929 0.67421
        1.25962 -0.1695 -0.08064 0.56223 1.24209 -0.98097 0.90175 1.18703""",
    "dinov2": """1.47898 -0.12226 0.6669 -0.39691 0.96812 1.66945 -0.73915 0.99421
        0.02155 -0.74408 -0.4722 0.34413 -0.08026 1.33737 -0.03484 1.3738""",
    "dinov2-square": """0.49455 -0.13913 0.52492 -1.44427 -0.57318 0.65454 0.41634 -0.73844
        0.67 -1.33273 0.69705 0.86479 0.52687 2.09426 0.00981 0.97493""",
    "clip": "-0.24238 -0.36518 -2.0083 -0.67245 0.24188 -0.89399 -1.00117 -1.00267",
    "text": "0.5335 -0.19822 0.46397 0.16509 -0.31792 -1.82972 0.26451 -0.27833",
}
SIZES = {"dino": (64, 100), "dinov2": (72, 99), "dinov2-square": (70, 70), "clip": (64, 64)}


def pictures(kind: str) -> Tensor:
    random = torch.Generator().manual_seed(1)
    drawn = {name: torch.randn(2, 3, *size, generator=random) for name, size in SIZES.items()}
    return drawn[kind]


def tokens() -> Tensor:
    made = torch.zeros(2, 77, dtype=torch.long)
    made[0, :5] = torch.tensor([598, 3, 44, 7, 599])
    made[1] = torch.tensor([598, *range(1, 76), 599])
    return made


def state(kind: str) -> dict[str, Tensor]:
    if kind in ("clip", "text"):
        return tiny_weights.clip()
    return tiny_weights.dino(14, 5, second=True) if "v2" in kind else tiny_weights.dino()


@torch.no_grad()
@pytest.mark.parametrize("kind", OLD)
def test_features_are_those_of_the_networks_as_released(kind: str) -> None:
    """Pictures that are not square have positions interpolated with the releases' factor."""
    if kind == "clip":
        network: Any = clip_network(clip_names(state(kind)))
        made = network.visual_projection(network.vision_model(pictures(kind)).pooler_output)
    elif kind == "text":
        network = clip_network(clip_names(state(kind)))
        made = network.text_projection(network.text_model(tokens()).pooler_output)
    else:
        made = class_token(vision_transformer(dino_names(state(kind))), pictures(kind))
    old = torch.tensor([float(x) for x in OLD[kind].split()])
    torch.testing.assert_close(made[:, ::16].flatten(), old, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ["dino", "dinov2", "clip"])
def test_what_transformers_saves_is_read(kind: str, tmp_path: Path) -> None:
    """The layout of the files on Hugging Face, with what those add; the same weights come out."""
    named = clip_names(state(kind)) if kind == "clip" else dino_names(state(kind))
    build = clip_network if kind == "clip" else vision_transformer
    build(named).save_pretrained(tmp_path)  # type: ignore[operator]
    read = read_state(tmp_path / "model.safetensors")
    assert not {"visual.conv1.weight", "cls_token"} & read.keys()
    if kind == "dino":
        read = {f"vit.{name}": x for name, x in read.items()} | {"pooler.dense.bias": torch.ones(1)}
    if kind == "clip":
        read |= {"vision_model.embeddings.position_ids": torch.arange(5)}
    again = clip_names(read) if kind == "clip" else dino_names(read)
    assert again.keys() == named.keys()
    assert all(torch.equal(again[name], named[name]) for name in named)


def test_weights_of_another_network_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    one = tiny_weights.dino()
    lacking = {k: v for k, v in one.items() if k != "blocks.1.norm1.bias"}
    for wrong, message in (
        (lacking, r"not the weights of DINO: they lack .*\.1\..*before\.bias"),
        ({**one, "register_tokens": torch.zeros(1, 4, 128)}, "have no place for register_tokens"),
        ({**one, "norm.bias": torch.zeros(3)}, r"differ in .*layernorm\.bias"),
        (tiny_weights.clip(), "not the weights of DINO"),
    ):
        with pytest.raises(ValueError, match=message):
            vision_transformer(dino_names(wrong))
    with pytest.raises(ValueError, match="not the weights of a CLIP"):
        clip_network(clip_names(one))
    assert capfd.readouterr().err == "", "the library reports what is raised already"
