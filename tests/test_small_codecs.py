"""Codecs that take little memory: the tiny one, tiles, and one that waits off the card."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cf.models.codec import Codec, PixelCodec
from cf.models.offloaded import Offloaded
from cf.models.stored import CheckpointError
from cf.models.taehv import TAEHV
from cf.models.tiled import Tiled
from cf.models.vae import WanVAE


def published_taehv(channels: int = 16, patch: int = 1) -> dict[str, Tensor]:
    """Random weights with the names of `taew2_1.pth`, as its repository's README describes it."""
    torch.manual_seed(0)
    pixels, state = 3 * patch**2, {}

    def conv(name: str, out: int, within: int, size: int = 3, bias: bool = True) -> None:
        state[f"{name}.weight"] = torch.randn(out, within, size, size) / (within * size**2) ** 0.5
        if bias:
            state[f"{name}.bias"] = torch.randn(out) / 10

    def remembering(name: str, width: int) -> None:
        for i, within in ((0, 2 * width), (2, width), (4, width)):
            conv(f"{name}.conv.{i}", width, within)

    conv("encoder.0", 64, pixels)
    for start, frames in ((2, 2), (7, 2), (12, 1)):
        conv(f"encoder.{start}.conv", 64, 64 * frames, 1, bias=False)
        conv(f"encoder.{start + 1}", 64, 64, bias=False)
        for i in range(3):
            remembering(f"encoder.{start + 2 + i}", 64)
    conv("encoder.17", channels, 64)
    conv("decoder.1", 256, channels)
    widths = (256, 128, 64, 64)
    for i, frames in enumerate((1, 2, 2)):
        start = 3 + 6 * i
        for j in range(3):
            remembering(f"decoder.{start + j}", widths[i])
        conv(f"decoder.{start + 4}.conv", frames * widths[i], widths[i], 1, bias=False)
        conv(f"decoder.{start + 5}", widths[i + 1], widths[i], bias=False)
    conv("decoder.22", pixels, 64)
    return state


@pytest.fixture(scope="module")
def tiny_codec(tmp_path_factory: pytest.TempPathFactory) -> TAEHV:
    file = tmp_path_factory.mktemp("taehv") / "taew2_1.pth"
    torch.save(published_taehv(), file)
    return TAEHV.from_file(str(file))


@pytest.mark.whole
def test_the_tiny_codec_streams_as_a_whole(tiny_codec: TAEHV) -> None:
    latents = torch.randn(2, 5, 16, 4, 6)
    with torch.no_grad():
        whole = tiny_codec.decode(latents)
        stream = tiny_codec.decoder()
        parts = torch.cat([stream(part) for part in torch.split(latents, [1, 3, 1], 1)], 1)
    assert whole.shape == (2, 17, 3, 32, 48)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-5)
    with torch.no_grad():  # nothing looks ahead
        other = tiny_codec.decode(torch.cat((latents[:, :3], 2 * latents[:, 3:]), 1))
    torch.testing.assert_close(other[:, :9], whole[:, :9], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(other[:, 9:], whole[:, 9:])


def test_the_tiny_codec_encodes_whole_videos(tiny_codec: TAEHV) -> None:
    video = torch.rand(1, 9, 3, 16, 24)
    encode = tiny_codec.encoder()
    with torch.no_grad():
        assert encode(video).shape == (1, 3, 16, 2, 3)
        with pytest.raises(ValueError, match="whole videos only"):
            encode(video[:, :4])


@pytest.mark.parametrize("channels", [16, 48])
def test_other_weights_are_no_tiny_codec(channels: int, tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    state = published_taehv(channels, 1 if channels == 16 else 2)
    state["decoder.7.conv.weight"] = torch.randn(512, 256, 1, 1)  # of one that grows in time too
    torch.save(state, file)
    made = TAEHV.from_file(str(file))
    grown = made.state_dict()["decoder_layers.7.conv.weight"]
    assert torch.equal(grown, state["decoder.7.conv.weight"][256:])
    assert made.latent_shape(64, 32) == ((16, 8, 4) if channels == 16 else (48, 4, 2))
    del state["encoder.0.weight"]
    torch.save(state, file)
    with pytest.raises(CheckpointError, match="taew2_1"):
        TAEHV.from_file(str(file))


@pytest.mark.parametrize("size", [(64, 96), (24, 104), (16, 16)])
def test_tiles_of_what_sees_little_are_the_whole(size: tuple[int, int]) -> None:
    pixels = Tiled(PixelCodec(), 32)
    video = torch.rand(2, 5, 3, *size)
    torch.testing.assert_close(pixels.encode(video), PixelCodec().encode(video))
    stream = pixels.decoder()
    latents = PixelCodec().encode(video)
    parts = [stream(part) for part in torch.split(latents, [2, 3], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), video)


def wan_vae() -> WanVAE:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    config = {"base_dim": 4, "z_dim": 4, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1}
    config |= {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}
    return WanVAE(diffusers.AutoencoderKLWan(**config))


@pytest.mark.parametrize(
    ("wrap", "share"),
    [(lambda one: Tiled(one, 128), 0.1), (lambda one: Offloaded(one, torch.device("cpu")), 1e-6)],
)
def test_a_wrapped_codec_is_near_the_codec_itself(
    wrap: Callable[[Codec], Codec], share: float
) -> None:
    """With random weights; the middle's attention sees a tile where it saw the picture."""
    codec = wan_vae()
    other, latents = wrap(codec), torch.randn(1, 2, 4, 16, 20)
    with torch.no_grad():
        whole, stream = codec.decode(latents), other.decoder()
        parts = torch.cat([stream(part) for part in torch.split(latents, [1, 1], 1)], 1)
        seen, expected = other.encode(whole), codec.encode(whole)
    assert parts.shape == whole.shape
    assert float((parts - whole).abs().mean()) <= share * float(whole.std())
    assert float((seen - expected).abs().mean()) <= share * float(expected.std())
