"""Published sizes of Wan's transformers: names, shapes and, at real width, diffusers' values."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from safetensors.torch import save_file
from tiny import model, to_diffusers
from torch import Tensor

from cf.models.checkpoints import CheckpointError, load_into, load_weights
from cf.models.names import to_diffusers_name
from cf.models.transformer import VideoTransformer
from cf.paths import CONFIG_DIR
from cf.types import Conditioning

pytestmark = pytest.mark.whole

IMAGE = {"image_dim": 1280, "reference_channels": 20}


def twin(network: VideoTransformer, **sizes: Any) -> Any:
    """Diffusers' model of the size, on the device "meta"."""
    diffusers = pytest.importorskip("diffusers")
    dim, channels = network.patch_embedding.weight.shape[:2]
    heads = network.blocks[0].self_attn.num_heads
    image = network.image_dim is not None
    with torch.device("meta"):
        return diffusers.WanTransformer3DModel(
            num_attention_heads=heads,
            attention_head_dim=dim // heads,
            in_channels=channels,
            out_channels=network.latent_shape[0],
            ffn_dim=network.blocks[0].ffn[0].out_features,
            num_layers=len(network.blocks),
            image_dim=network.image_dim,
            added_kv_proj_dim=dim if image else None,
            **sizes,
        )


@pytest.mark.parametrize(
    ("name", "tensors"),
    [("wan_1_3b", 825), ("wan_14b", 1095), ("wan2_2_5b", 825), ("wan_i2v_14b", 1303)],
)
def test_names_and_shapes_are_those_of_diffusers(name: str, tensors: int) -> None:
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"), torch.device("meta"):
        network = instantiate(compose(overrides=[f"+model={name}"]).model)
    mine = {to_diffusers_name(k): v.shape for k, v in network.state_dict().items()}
    assert mine == {k: v.shape for k, v in twin(network).state_dict().items()}
    assert len(mine) == tensors


def filled(network: VideoTransformer, generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights in every place of a network of "meta", by name."""
    state = {}
    for name, weight in network.state_dict().items():
        fan_in = weight[0].numel() if weight.ndim > 1 else 4
        spread = 0.02 if "e_embedding" in name else fan_in**-0.5  # of time, as Wan begins
        made = torch.randn(weight.shape, generator=generator) * spread
        state[name] = 1 + made if "norm" in name and name.endswith("weight") else made
    network.load_state_dict(state, assign=True)
    return state


def inputs(network: VideoTransformer, size: tuple[int, int]) -> tuple[Tensor, Conditioning]:
    torch.manual_seed(2)
    cond = Conditioning(
        torch.randn(1, 512, 4096),
        image=None if network.image_dim is None else torch.randn(1, 257, 1280),
        reference=torch.randn(1, 3, 20, *size) if network.reference_channels else None,
    )
    return torch.randn(1, 3, network.latent_shape[0], *size), cond


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("t2v", {"dim": 1536, "num_heads": 12, "ffn_dim": 8960}),
        ("i2v", {"dim": 1536, "num_heads": 12, "ffn_dim": 8960, **IMAGE}),
        pytest.param(
            "ti2v",
            {"dim": 3072, "num_heads": 24, "ffn_dim": 14336, "latent_shape": (48, 4, 4)},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_layers_of_real_width_equal_diffusers(kind: str, sizes: dict[str, Any]) -> None:
    """In float32, landscape and portrait; Wan2.2-TI2V-5B with a time for every frame."""
    with torch.device("meta"):
        network = VideoTransformer(num_layers=2, text_dim=4096, **sizes)
    state = filled(network, torch.Generator().manual_seed(1))
    theirs = twin(network)
    theirs.rope = type(theirs.rope)(128, (1, 2, 2), 1024)  # buffers are not in the state
    theirs.load_state_dict({to_diffusers_name(k): v for k, v in state.items()}, assign=True)
    times = torch.tensor([[0.0, 0.7, 0.7]] if kind == "ti2v" else [[0.7] * 3])
    for size in ((4, 6), (6, 4)):
        x_t, cond = inputs(network, size)
        whole = x_t if cond.reference is None else torch.cat((x_t, cond.reference), 2)
        per_token = 1000 * times.repeat_interleave(size[0] * size[1] // 4, 1)
        with torch.no_grad():
            mine = network(x_t, times, cond).velocity
            expected = theirs(
                whole.transpose(1, 2),
                per_token if kind == "ti2v" else 1000 * times[:, 0],
                cond.text,
                cond.image,
                return_dict=False,
            )[0].transpose(1, 2)
        difference = float((mine - expected).norm() / expected.norm())
        assert difference < 3e-6


def tiny(**more: Any) -> VideoTransformer:
    sizes = {"control_dim": None, "image_dim": 6, "reference_channels": 6, **more}
    return model(torch.float32, **sizes)


def test_an_image_to_video_network_trains_and_every_weight_counts() -> None:
    network = tiny()
    x_t, t, cond = network.fake_inputs(2, 3)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    losses = []
    for _ in range(3):
        loss = (network(x_t, t, cond).velocity - network.target(x_t, x_t.flip(0), t)).square()
        optimizer.zero_grad()
        loss.mean().backward()
        assert all(p.grad is not None and p.grad.any() for p in network.parameters())
        optimizer.step()
        losses.append(float(loss.detach().mean()))
    assert losses[2] < losses[1] < losses[0]


def test_a_block_sees_its_own_frames_of_the_reference() -> None:
    network = tiny()
    x_t, t, cond = network.fake_inputs(2, 4)
    later = cond.frames(2, 4)
    assert cond.reference is not None
    assert later.reference is not None
    assert torch.equal(later.reference, cond.reference[:, 2:])
    assert torch.equal(later.samples([1]).reference, cond.reference[1:, 2:])  # type: ignore[arg-type]
    whole, part = network(x_t, t, cond).velocity, network(x_t[:, 2:], t[:, 2:], later).velocity
    assert not torch.allclose(whole[:, 2:], part), "frames see one another"
    beyond = cond.frames(3, 6).reference
    assert beyond is not None
    assert torch.equal(beyond, cond.reference[:, [3, 3, 3]]), "the last frame holds"


@pytest.mark.parametrize(
    ("sizes", "dropped", "message"),
    [
        ({}, "image", "conditioned on a picture: give the image encoder's states"),
        ({}, "reference", "takes 6 reference channels .* give a picture, image="),
        ({"image_dim": None}, "", "without an image branch"),
        ({"reference_channels": 0}, "", "without reference_channels"),
        ({"image_dim": 7}, "", "image states of 6 numbers do not fit .* image_dim=7"),
        ({"reference_channels": 9}, "", r"frames of \(6, 4, 4\), but this model takes 9"),
    ],
)
def test_conditioning_of_another_model_is_refused(
    sizes: dict[str, Any], dropped: str, message: str
) -> None:
    x_t, t, cond = tiny().fake_inputs(1, 2)
    given = {name: None if name == dropped else x for name, x in vars(cond).items()}
    with pytest.raises(ValueError, match=message):
        tiny(**sizes)(x_t, t, Conditioning(**given))


def test_a_picture_is_attended_beside_a_text() -> None:
    with pytest.raises(ValueError, match="image_dim wants text_dim"):
        tiny(text_dim=None)


@pytest.mark.parametrize("diffusers", [False, True])
def test_image_to_video_weights_load_and_another_model_is_told_what_they_are(
    tmp_path: Path, diffusers: bool
) -> None:
    state = tiny().state_dict()
    save_file(to_diffusers(state) if diffusers else state, tmp_path / "x.safetensors")
    network = tiny(seed=3)
    load_into(network, load_weights(tmp_path / "x.safetensors"), "x")
    assert all(torch.equal(x, state[name]) for name, x in network.state_dict().items())
    message = "image_dim 6, reference channels 6.*the model that fits, with image_dim=6 and "
    with pytest.raises(CheckpointError, match=message + "reference_channels=6"):
        load_into(
            tiny(image_dim=None, reference_channels=0),
            load_weights(tmp_path / "x.safetensors"),
            "x",
        )
