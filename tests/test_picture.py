"""Image-to-video: what CLIP and the codec tell of a picture, and videos that go on from one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOMS, give
from PIL import Image
from safetensors.torch import load_file, save_file
from test_wan_layouts import vae
from tiny import model, to_diffusers
from tiny_text import published
from torch import Tensor

from cf.models.codec import PixelCodec
from cf.models.picture import ImageEncoder, reference_of
from cf.models.pretrained import IMAGE, find_part
from cf.models.vae import WanVAE
from cf.types import Conditioning


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published image-to-video model in diffusers' layout, small and random."""
    transformers = pytest.importorskip("transformers")
    place = published(tmp_path_factory.mktemp("i2v"))
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14, "projection_dim": 8}
    tower = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes))
    tower.save_pretrained(place / "image_encoder")
    file = place / "image_encoder" / "model.safetensors"
    names = {
        f"vision_model.{n.removeprefix('vision_model.')}": x for n, x in load_file(file).items()
    }
    save_file(names, file, {"format": "pt"})  # as it is published
    transformers.CLIPImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    ).save_pretrained(place / "image_processor")
    vae("2.1").save_pretrained(place / "vae")
    network = model(torch.float32, **SIZES)
    (place / "transformer").mkdir()
    save_file(to_diffusers(network.state_dict()), place / "transformer" / "model.safetensors")
    return place


SIZES: dict[str, Any] = {
    "control_dim": None,
    "latent_shape": (16, 4, 4),
    "text_dim": 16,
    "text_len": 8,
    "image_dim": 16,
    "reference_channels": 20,
}


def picture() -> Tensor:
    torch.manual_seed(5)
    return torch.randint(0, 256, (1, 3, 40, 56)).float() / 255


def test_states_are_those_of_transformers_before_the_last_layer(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    mine = ImageEncoder.from_folder(str(folder)).train()
    theirs = transformers.CLIPVisionModel.from_pretrained(folder / "image_encoder").eval()
    process = transformers.CLIPImageProcessor.from_pretrained(folder / "image_processor")
    bytes_ = (255 * picture()[0]).round().byte().permute(1, 2, 0).numpy()
    pixels = process(images=Image.fromarray(bytes_), return_tensors="pt").pixel_values
    with torch.no_grad():
        expected = theirs(pixels, output_hidden_states=True).hidden_states[-2]
    assert torch.allclose(mine.encode(picture()), expected, atol=1e-6)
    assert (mine.dim, expected.shape) == (16, (1, 5, 16))
    with pytest.raises(FileNotFoundError, match=r"no image_encoder found.*is of UMT5EncoderModel"):
        find_part(str(folder / "text_encoder"), IMAGE)


def test_the_reference_is_a_mask_and_the_latents_of_the_picture_and_of_grey() -> None:
    codec = WanVAE(vae("2.1"))
    first = picture()[:, None, :, :16, :24]
    reference = reference_of(codec, first, 20)
    frames = 40
    assert 3 < reference.shape[1] < frames, "grey stops changing the latents"
    grey = torch.full((1, 4 * (frames - 1), *first.shape[2:]), 0.5)
    latents = codec.encode(torch.cat((first, grey), 1))
    held = Conditioning(reference=reference).frames(0, frames).reference
    assert held is not None
    assert torch.allclose(held[:, :, 4:], latents, atol=1e-5)
    assert held[:, 0, :4].min() == 1
    assert not held[:, 1:, :4].any()
    with pytest.raises(ValueError, match="one picture, not from 5 frames"):
        reference_of(codec, first.expand(-1, 5, -1, -1, -1), 20)
    with pytest.raises(ValueError, match=r"takes 20 reference channels, but .* 3 of latents"):
        reference_of(PixelCodec(), first, 20)


def settings(folder: Path, out: Path) -> list[str]:
    model = {"dim": 24, "num_heads": 2, "num_layers": 2, "ffn_dim": 32, "freq_dim": 8}
    model |= {"latent_shape": [16, 4, 4], "text_dim": 16, "text_len": 8, "image_dim": 16}
    return [
        f"checkpoint={folder}",
        "model=wan_i2v_14b",
        *(f"model.{name}={value}".replace(" ", "") for name, value in model.items()),
        "codec=wan",
        f"codec.folder={folder}",
        "text=umt5",
        f"text.folder={folder}",
        "+text.text_len=8",
        "rollout=blockwise",
        "memory=sliding",
        "size=[32,32]",
        "fps=16",
        "seconds=1",
        "prompt=a red cat",
        f"hydra.run.dir={out}",
    ]


def test_a_video_goes_on_from_a_picture_in_published_layouts(
    folder: Path, tmp_path: Path, refused: Any
) -> None:
    given = settings(folder, tmp_path / "out")
    eyes = ["image_encoder=clip", f"image_encoder.folder={folder}"]
    for name, colour in (("a", (200, 30, 30)), ("b", (20, 30, 220))):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{name}.png")
    made = []
    for name in ("a", "b"):
        out = tmp_path / name
        give(
            "cf.generate",
            *given[:-1],
            f"hydra.run.dir={out}",
            *eyes,
            f"image={tmp_path / name}.png",
        )
        made.append((out / "video_0.mp4").read_bytes())
    assert made[0] != made[1], "the picture counts"
    assert "give image=" in refused("cf.generate", *given, *eyes)
    told = refused("cf.generate", *given, f"image={tmp_path / 'a'}.png")
    assert "give image_encoder=clip" in told


def test_an_image_to_video_network_is_trained_on_clips_and_their_beginnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def spied(codec: Any, picture: Tensor, *rest: Any) -> Tensor:
        seen.append(picture)
        return reference_of(codec, picture, *rest)

    monkeypatch.setattr("cf.modules.base.reference_of", spied)
    given = [*ROOMS, "+model.reference_channels=7", "trainer.max_steps=2"]
    give("cf.fit", *given, f"hydra.run.dir={tmp_path / 'run'}")
    assert seen[0].shape == (4, 1, 3, 16, 16)
    weights = load_file(tmp_path / "run" / "network.safetensors")
    assert weights["patch_embedding.weight"].shape[1] == 10
    assert weights["patch_embedding.weight"][:, 3:].abs().min() > 0
