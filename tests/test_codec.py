"""Pixels and latents: exact streams, shapes, normalisation, and what is refused."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cf.models.autoencoder import VideoAutoencoder
from cf.models.codec import Codec, DecoderStream, EncoderStream, PixelCodec, Pixels
from cf.models.pretrained import parse_dtype
from cf.models.vae import WanVAE
from cf.types import Latents

MEAN, STD = (0.1, -0.2, 0.3, 0.4), (1.0, 2.0, 0.5, 1.5)


def tiny_vae(**sizes: Any) -> Any:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    return diffusers.AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 2, 2],
        num_res_blocks=1,
        latents_mean=list(MEAN),
        latents_std=list(STD),
        **sizes,
    )


@pytest.fixture(scope="module")
def wan() -> WanVAE:
    return WanVAE(tiny_vae())


@pytest.fixture(scope="module")
def wan22() -> WanVAE:
    """As Wan2.2-TI2V's: residual, and patches of 2 x 2 pixels."""
    return WanVAE(tiny_vae(is_residual=True, patch_size=2, in_channels=12, out_channels=12))


def autoencoder(time_stride: int) -> VideoAutoencoder:
    torch.manual_seed(0)
    made = VideoAutoencoder(channels=4, time_stride=time_stride, widths=[4, 6])
    return made.requires_grad_(False).eval()


@pytest.fixture(params=["pixels", "wan", "wan22", "small 1", "small 2", "small 4"])
def codec(request: pytest.FixtureRequest) -> Codec:
    if request.param == "pixels":
        return PixelCodec()
    if request.param.startswith("small"):
        return autoencoder(int(request.param.split()[1]))
    vae: Codec = request.getfixturevalue(request.param)
    return vae


def some_video(codec: Codec, latent_frames: int, seed: int = 0, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    side = codec.space_stride
    frames = codec.video_frames(latent_frames)
    return torch.rand(batch, frames, 3, side, 2 * side, generator=generator)


def some_latents(codec: Codec, frames: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, frames, codec.channels, 1, 2, generator=generator)


def in_blocks(stream: Any, whole: Tensor, sizes: Sequence[int]) -> Tensor:
    return torch.cat([stream(piece) for piece in torch.split(whole, list(sizes), 1)], 1)


def test_shapes_and_ranges(codec: Codec) -> None:
    video = some_video(codec, 3, batch=2)
    latents = codec.encode(video)
    assert latents.shape == (2, 3, *codec.latent_shape(*video.shape[-2:]))
    decoded = codec.decode(4 * latents)
    assert decoded.shape == video.shape
    assert latents.dtype == decoded.dtype == torch.float32
    assert decoded.min() >= 0
    assert decoded.max() <= 1


def test_a_decoder_stream_equals_the_whole(codec: Codec) -> None:
    latents = some_latents(codec, 6)
    streamed = in_blocks(codec.decoder(), latents, (3, 1, 2))
    assert torch.equal(streamed, codec.decode(latents))


def test_an_encoder_stream_equals_the_whole(codec: Codec) -> None:
    video = some_video(codec, 4)
    later = codec.time_stride
    streamed = in_blocks(codec.encoder(), video, (1, 2 * later, later))
    assert torch.equal(streamed, codec.encode(video))


def test_streams_do_not_disturb_one_another(codec: Codec) -> None:
    first, second = some_latents(codec, 4, seed=1), some_latents(codec, 4, seed=2)
    streams = codec.decoder(), codec.decoder()
    out: tuple[list[Tensor], list[Tensor]] = [], []
    for start in (0, 2):
        for stream, latents, frames in zip(streams, (first, second), out, strict=True):
            frames.append(stream(latents[:, start : start + 2]))
        codec.decode(first)
        codec.encode(some_video(codec, 2))
    assert torch.equal(torch.cat(out[0], 1), codec.decode(first))
    assert torch.equal(torch.cat(out[1], 1), codec.decode(second))


@pytest.mark.parametrize("frames", [0, 1, 2, 7])
def test_frame_counts_are_inverse(codec: Codec, frames: int) -> None:
    pixels = codec.video_frames(frames)
    assert codec.covering(pixels) == frames
    if frames:
        assert codec.latent_frames(pixels) == frames
        assert pixels == 1 + (frames - 1) * codec.time_stride
        assert codec.video_frames(codec.covering(pixels + 1)) >= pixels + 1


def test_pixels_come_back() -> None:
    codec = PixelCodec()
    video = some_video(codec, 5)
    assert torch.allclose(codec.decode(codec.encode(video)), video, atol=1e-6)
    assert not list(codec.parameters())


@pytest.mark.parametrize("name", ["wan", "wan22"])
def test_the_vae_is_diffusers_own_with_normalised_latents(
    name: str, request: pytest.FixtureRequest
) -> None:
    codec: WanVAE = request.getfixturevalue(name)
    mean, std = (torch.tensor(x).view(1, -1, 1, 1, 1) for x in (MEAN, STD))
    video = some_video(codec, 3)
    with torch.no_grad():
        posterior = codec.vae.encode((2 * video - 1).transpose(1, 2)).latent_dist
        latents = codec.encode(video)
        assert torch.allclose(latents.transpose(1, 2), (posterior.mean - mean) / std, atol=1e-5)
        raw = latents.transpose(1, 2) * std + mean
        decoded = codec.vae.decode(raw).sample.transpose(1, 2)
    assert torch.allclose(2 * codec.decode(latents) - 1, decoded, atol=2e-5)


def test_a_decoder_stream_holds_no_more_as_it_goes_on(
    wan: WanVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    decoder = wan.vae.decoder.forward

    def counted(x: Tensor, feat_cache: list[Any], **rest: Any) -> Tensor:
        out: Tensor = decoder(x, feat_cache=feat_cache, **rest)
        held.append(sum(slot.numel() for slot in feat_cache if isinstance(slot, Tensor)))
        return out

    monkeypatch.setattr(wan.vae.decoder, "forward", counted)
    in_blocks(wan.decoder(), some_latents(wan, 8), (2, 2, 2, 2))
    assert len(set(held[2:])) == 1


def test_the_vae_stays_frozen_and_in_evaluation_mode(wan: WanVAE) -> None:
    torch.nn.Sequential(wan).train()
    assert not any(module.training for module in wan.modules())
    assert not any(parameter.requires_grad for parameter in wan.parameters())


def test_gradient_reaches_the_latents_through_the_decoder(wan: WanVAE) -> None:
    latents = some_latents(wan, 2).requires_grad_()
    wan.decode(latents).sum().backward()
    assert latents.grad is not None
    assert latents.grad[:, 0].abs().sum() > 0


def test_a_wrong_number_of_frames_names_the_nearest(wan: WanVAE) -> None:
    with pytest.raises(ValueError, match=r"a video of 7 pixel frames .* 5 and 9"):
        wan.encode(torch.rand(1, 7, 3, 8, 8))
    with pytest.raises(ValueError, match=r"0 pixel frames .* are 1$"):
        wan.latent_frames(0)
    with pytest.raises(ValueError, match=r"negative, got -1"):
        wan.video_frames(-1)
    stream = wan.encoder()
    stream(some_video(wan, 1))
    with pytest.raises(ValueError, match=r"further piece of a video of 5 pixel frames .* 4 and 8"):
        stream(some_video(wan, 2))


def test_a_wrong_side_names_the_nearest(wan: WanVAE) -> None:
    with pytest.raises(ValueError, match=r"height 12 is not a multiple of 8.* 8 and 16"):
        wan.encode(torch.rand(1, 1, 3, 12, 8))
    with pytest.raises(ValueError, match=r"width 7 is not a multiple of 8.* are 8"):
        wan.encode(torch.rand(1, 1, 3, 8, 7))
    with pytest.raises(ValueError, match="size: height 0 is no number of pixels"):
        wan.latent_shape(0, 8)


def test_latents_of_another_codec_are_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match=r"these latents have 5 channels"):
        codec.decode(torch.randn(1, 1, 5, 1, 1))


@pytest.mark.parametrize("nested", [True, False])
def test_a_folder_loads_what_was_saved(tmp_path: Path, wan: WanVAE, nested: bool) -> None:
    wan.vae.save_pretrained(tmp_path / "vae")
    loaded = WanVAE.from_folder(str(tmp_path if nested else tmp_path / "vae"))
    latents = some_latents(wan, 2)
    assert torch.equal(loaded.decode(latents), wan.decode(latents))
    half = WanVAE.from_folder(str(tmp_path), dtype="bfloat16")
    assert half.vae.dtype == torch.bfloat16
    decoded = half.decode(latents)
    assert decoded.dtype == torch.float32
    assert torch.allclose(decoded, wan.decode(latents), atol=0.05)


def test_a_folder_without_a_vae_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no vae found: .*absent/vae .* diffusers layout"):
        WanVAE.from_folder(str(tmp_path / "absent"))


def test_missing_weights_are_not_left_random(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    vae = tiny_vae()
    vae.save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["decoder.conv_in.weight"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 of the weights, such as decoder.conv_in.weight"):
        WanVAE.from_folder(str(tmp_path))


def test_without_diffusers_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKLWan"}')
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ImportError, match=r"extra 'wan'"):
        WanVAE.from_folder(str(tmp_path))


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 'bf16'"):
        parse_dtype("bf16")


class Halves(Codec):
    """A codec of one's own needs the strides and the two streams."""

    channels, time_stride, space_stride = 3, 1, 1

    def encoder(self) -> EncoderStream:
        def encode(video: Pixels) -> Latents:
            return video / 2

        return encode

    def decoder(self) -> DecoderStream:
        return DecoderStream(lambda latents, held: latents * 2)


def test_a_codec_of_ones_own() -> None:
    codec = Halves()
    video = some_video(codec, 2)
    assert torch.equal(codec.decode(codec.encode(video)), video)
