"""Image-to-video: what CLIP and the codec tell of a picture, and videos that go on from one."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOMS, STUDENT, fit, give
from PIL import Image
from published import original_clip
from safetensors.torch import load_file, save_file
from test_wan_layouts import vae
from tiny import model, to_diffusers
from tiny_text import published
from torch import Tensor

from cf.bench.contestants.network import Network as Contestant
from cf.bench.tasks.base import Sample
from cf.data.world.rooms import Rooms
from cf.memory.full import Full
from cf.models.codec import PixelCodec
from cf.models.picture import ImageEncoder, reference_of
from cf.models.pretrained import IMAGE, find_part
from cf.models.text import TextEncoder
from cf.models.transformer import VideoTransformer
from cf.models.vae import WanVAE
from cf.rollout.blockwise import Rollout
from cf.rollout.switch import Keep
from cf.runs.generator import Generator
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


@pytest.mark.whole
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


@pytest.mark.whole
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


@pytest.mark.whole
def test_an_image_to_video_network_is_trained_on_clips_and_their_beginnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []

    def spied(codec: Any, picture: Tensor, *rest: Any) -> Tensor:
        seen.append(picture)
        return reference_of(codec, picture, *rest)

    monkeypatch.setattr("cf.models.picture.reference_of", spied)
    given = [*ROOMS, "+model.reference_channels=7", "trainer.max_steps=2"]
    give("cf.fit", *given, f"hydra.run.dir={tmp_path / 'run'}")
    assert seen[0].shape == (4, 1, 3, 16, 16)
    weights = load_file(tmp_path / "run" / "network.safetensors")
    assert weights["patch_embedding.weight"].shape[1] == 10
    assert weights["patch_embedding.weight"][:, 3:].abs().min() > 0


def test_the_authors_file_of_clip_gives_the_same_states(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(4)
    sizes = {"hidden_size": 160, "intermediate_size": 32, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14, "hidden_act": "gelu"}
    theirs = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**sizes)).eval()
    file = tmp_path / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
    torch.save(original_clip(theirs.state_dict()), file)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    square = torch.nn.functional.interpolate(picture(), (28, 28), mode="bicubic")
    with torch.no_grad():
        expected = theirs((square - mean) / std, output_hidden_states=True).hidden_states[-2]
    for place in (file, tmp_path):
        mine = ImageEncoder.from_folder(str(place))
        assert torch.allclose(mine.encode(picture()), expected, atol=1e-5)
    broken = torch.load(file)
    del broken["visual.transformer.0.mlp.0.weight"]
    torch.save(broken, file)
    with pytest.raises(ValueError, match=r"is no CLIP of Wan2.1-I2V: it lacks .*mlp.fc1.weight"):
        ImageEncoder.from_folder(str(file))


@pytest.mark.whole
def test_a_student_is_distilled_from_an_image_to_video_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every network of the distillation is told of the pictures with which the clips begin."""
    told: list[tuple[str, ...]] = []
    real = VideoTransformer.forward

    def forward(
        self: Any, x: Tensor, t: Tensor, cond: Conditioning, *rest: Any, **more: Any
    ) -> Any:
        told.append(tuple(k for k in ("image", "reference") if getattr(cond, k) is not None))
        return real(self, x, t, cond, *rest, **more)

    given = [*ROOMS, "+model.reference_channels=7", "+model.image_dim=4", "+model.text_dim=4"]
    given += ["+model.text_len=3", "text._target_=test_picture.Words", "trainer.max_steps=1"]
    given += ["+image_encoder={_target_:test_picture.Eyes}"]
    base = fit(tmp_path / "base", *given)
    monkeypatch.setattr(VideoTransformer, "forward", forward)
    starts = [f"start.{who}.path={base}" for who in ("student", "teacher")]
    fit(tmp_path / "run", *given, *STUDENT, *starts, "objective=dmd", "score.guidance=1")
    assert {*told} == {("image", "reference")}
    assert (tmp_path / "run" / "network.safetensors").is_file()


class Words(TextEncoder):
    """A text encoder of three tokens, the same for every text."""

    dim = 4

    def encode(self, prompts: list[str]) -> Tensor:
        return torch.ones(len(prompts), 3, 4)


class Eyes(ImageEncoder):
    """An image encoder of two tokens, the mean colour of a picture."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.dim = 4

    def encode(self, pictures: Tensor) -> Tensor:
        mean = pictures.mean((2, 3))
        return torch.cat((mean, mean[:, :1]), 1)[:, None].repeat(1, 2, 1)


@pytest.mark.whole
def test_pictures_of_a_list_begin_the_videos_of_a_benchmark(
    folder: Path, tmp_path: Path, refused: Any
) -> None:
    for name, colour in (("a", (200, 30, 30)), ("b", (20, 30, 220))):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{name}.png")
    listed = tmp_path / "list.csv"
    listed.write_text("prompt_id,prompt,image\none,a red cat,a.png\ntwo,a red cat,b.png\n")
    sizes = [x for x in settings(folder, tmp_path) if x.startswith("model.")]
    mine = [f"{name}.folder={folder}" for name in ("codec", "text", "image_encoder")]
    mine += [f"checkpoint={folder}", "dtype=float32", "size=[32,32]", "codec.dtype=float32"]
    mine += ["rollout.num_steps=2", "rollout.block_frames=3", *sizes]
    given = ["suite=moviegen", "contestants=none", "+contestant@contestants.it=wan_i2v"]
    given += [f"contestants.it.{one}" for one in mine] + ["+contestants.it.text.text_len=8"]
    given += ["durations=[0.5]", "metrics=none", "workers=0", f"asked.file={listed}"]
    given += ["+metrics.flicker._target_=cf.metrics.TemporalFlickeringVBench", "headline=[flicker]"]
    given += ["devices=cpu", "report=false", "tensorboard=false"]
    give("cf.benchmark", *given, f"hydra.run.dir={tmp_path / 'out'}")
    rows = [
        json.loads(x.read_text()) for x in sorted((tmp_path / "out").glob("videos/*/*/row.json"))
    ]
    assert [row["reason"] for row in rows] == ["", ""]
    assert (
        rows[0]["durations"]["0.5"]["frames_sha256"] != rows[1]["durations"]["0.5"]["frames_sha256"]
    )
    listed.write_text("prompt_id,prompt\none,a red cat\n")
    assert "give every prompt of the list an image" in refused("cf.benchmark", *given)
    listed.write_text("prompt_id,prompt,image\none,a red cat,c.png\n")
    assert "c.png; a path is seen from the list" in refused("cf.benchmark", *given)


# Worlds, whose given frames begin with a picture


def steered(**more: Any) -> VideoTransformer:
    sizes = {"latent_shape": (3, 16, 16), "patch_size": (8, 8), "text_dim": 4, "text_len": 3}
    return model(torch.float32, **{**sizes, "image_dim": 4, "reference_channels": 7, **more})


def in_rooms(network: VideoTransformer, eyes: ImageEncoder | None) -> Generator:
    way: tuple[Any, ...] = (Rollout(Full(), num_steps=1), Keep(), 8.0, (16, 16))
    return Generator(network, PixelCodec(), Words(), *way, eyes)


def test_given_frames_of_a_world_show_an_image_to_video_network_its_picture() -> None:
    """Each video's own, as if it had been typed, whatever else is in the batch."""
    rooms = Rooms(view_cells=2, room_cells=3, token=(8, 8), size=(16, 16))
    network = steered(control_dim=rooms.num_places)
    generator, film = in_rooms(network, Eyes()), rooms.film(0, [0, 1], 12)
    with torch.no_grad():
        both = torch.cat(list(islice(generator.following(film, 6, 0, [0, 1]), 3)), 1)
        pictures = film.part(0, 1).video
        for number in range(2):
            alone = rooms.film(0, [number], 12)
            shown = generator.shown(pictures[number : number + 1])
            assert shown is not None
            made = torch.cat(list(islice(shown.following(alone, 6, 0, [number]), 3)), 1)
            torch.testing.assert_close(both[number : number + 1], made, atol=1e-5, rtol=0)
        other = generator.shown(pictures[1:])
        assert other is not None
        wrong = torch.cat(list(islice(other.following(rooms.film(0, [0], 12), 6, 0, [0]), 3)), 1)
        assert not torch.allclose(both[:1], wrong, atol=1e-3)
        drawn = rooms.draw(0, [0, 1], 12)
        torch.testing.assert_close(generator.follow(drawn, 6, 0, [0, 1]), both, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="give a frame or more"):
        next(generator.following(film, 0, 0, [0, 1]))


def test_an_image_to_video_contestant_wants_a_picture_of_every_video() -> None:
    model_of = {"image_dim": 4, "text_dim": 8}
    one = Contestant(model=model_of, image_encoder={"_target_": "test_picture.Eyes"})
    begun = Sample("a-0", "a", 0, ((0.0, "a"),), image="a.png")
    world = Sample("w-0", "w", 0, ((0.0, ""),), world=3)
    one.check([begun, world], "mine")
    with pytest.raises(ValueError, match=r"give every prompt of the list an image .*; b has none"):
        one.check([begun, Sample("b-0", "b", 0, ((0.0, "b"),))], "mine")
    blind = Contestant(model=model_of)
    with pytest.raises(ValueError, match=r"give \+image_encoder@contestants.mine.image_encoder"):
        blind.check([begun], "mine")
    Contestant(model={"dim": 24, "text_dim": 8}).check(
        [Sample("b-0", "b", 0, ((0.0, "b"),))], "plain"
    )
