"""Networks of published weights: equal to independent implementations, frame by frame."""

import math
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import tiny_weights
import torch
from metrics import cut, moving
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import Compose, Normalize, Resize
from torchvision.transforms.functional import InterpolationMode

from cf.metrics.base import VideoMetric
from cf.metrics.extractors.base import Extractor
from cf.metrics.extractors.clip import ClipExtractor
from cf.metrics.extractors.dino import Dino
from cf.metrics.extractors.files import read_state
from cf.metrics.extractors.handcrafted import Handcrafted
from cf.metrics.extractors.names import clip_names, dino_names
from cf.metrics.extractors.towers import Clip, ImageTower
from cf.metrics.extractors.vision_transformer import VisionTransformer
from cf.metrics.features import Features
from cf.metrics.result import Result
from cf.metrics.scored import Scored

transformers = pytest.importorskip("transformers")


def near(one: Tensor, other: Tensor, by: float = 1e-5) -> None:
    torch.testing.assert_close(one, other, rtol=by, atol=by)


def separate(state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """Joined queries, keys and values taken apart; `names` says where each goes."""
    made = {}
    for joined, pattern in names.items():
        for kind in ("weight", "bias"):
            name = next(x for x in (f"{joined}.{kind}", f"{joined}_{kind}") if x in state)
            for letter, part in zip("qkv", state[name].chunk(3), strict=True):
                made[f"{pattern.format(letter)}.{kind}"] = part
    return made


def hugging_vit(state: dict[str, Tensor], stack: str, scaled: bool) -> dict[str, Tensor]:
    """Transformers' names of a ViT, written out here on purpose and not taken from the package."""
    top = {
        "cls_token": "embeddings.cls_token",
        "mask_token": "embeddings.mask_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    norms = ("norm1", "norm2") if scaled else ("layernorm_before", "layernorm_after")
    made = {theirs: state[ours] for ours, theirs in top.items() if ours in state}
    for number in range(2):
        ours, theirs = f"blocks.{number}", f"{stack}.{number}"
        made |= separate(state, {f"{ours}.attn.qkv": theirs + ".attention.{}_proj"})
        for kind in ("weight", "bias"):
            for old, new in zip(("norm1", "norm2"), norms, strict=True):
                made[f"{theirs}.{new}.{kind}"] = state[f"{ours}.{old}.{kind}"]
            made[f"{theirs}.attention.o_proj.{kind}"] = state[f"{ours}.attn.proj.{kind}"]
            for layer in ("mlp.fc1", "mlp.fc2"):
                made[f"{theirs}.{layer}.{kind}"] = state[f"{ours}.{layer}.{kind}"]
        if scaled:
            for one in "12":
                made[f"{theirs}.layer_scale{one}.lambda1"] = state[f"{ours}.ls{one}.gamma"]
    return made


def their_vit(state: dict[str, Tensor]) -> Any:
    config = transformers.ViTConfig(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        image_size=64,
        patch_size=16,
        layer_norm_eps=1e-6,
    )
    model = transformers.ViTModel(config, add_pooling_layer=False).eval()
    model.load_state_dict(hugging_vit(state, "layers", scaled=False))
    return model


def their_dinov2(state: dict[str, Tensor]) -> Any:
    config = transformers.Dinov2Config(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=70,
        patch_size=14,
    )
    model = transformers.Dinov2Model(config).eval()
    model.load_state_dict(hugging_vit(state, "encoder.layer", scaled=True))
    return model


def their_clip(state: dict[str, Tensor]) -> Any:
    tower = {
        "hidden_size": 128,
        "intermediate_size": 512,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    words = len(state["token_embedding.weight"])
    ends = {"bos_token_id": words - 2, "eos_token_id": words - 1}
    config = transformers.CLIPConfig(
        text_config={**tower, "vocab_size": words, **ends},
        vision_config={**tower, "image_size": 64, "patch_size": 32},
        projection_dim=64,
    )
    model = transformers.CLIPModel(config).eval()
    made = {
        "logit_scale": state["logit_scale"],
        "visual_projection.weight": state["visual.proj"].T,
        "text_projection.weight": state["text_projection"].T,
        "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        "text_model.embeddings.token_embedding.weight": state["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": state["positional_embedding"],
    }
    kinds = ("weight", "bias")
    for kind in kinds:
        made[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
        made[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
        made[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
    parts = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj"}
    parts |= {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    for where, prefix in (("vision_model", "visual."), ("text_model", "")):
        for number in range(2):
            ours = f"{prefix}transformer.resblocks.{number}"
            theirs = f"{where}.encoder.layers.{number}"
            made |= separate(state, {f"{ours}.attn.in_proj": theirs + ".self_attn.{}_proj"})
            for new, old in parts.items():
                made |= {f"{theirs}.{new}.{kind}": state[f"{ours}.{old}.{kind}"] for kind in kinds}
    model.load_state_dict(made)
    return model


@torch.no_grad()
def test_dino_equals_an_independent_vit() -> None:
    state = tiny_weights.dino()
    pictures = torch.randn(3, 3, 64, 64)
    theirs = their_vit(state)(pixel_values=pictures).last_hidden_state[:, 0]
    near(VisionTransformer.of(state)(pictures), theirs)


@torch.no_grad()
def test_dinov2_equals_an_independent_one() -> None:
    state = tiny_weights.dino(patch=14, grid=5, second=True)
    pictures = torch.randn(3, 3, 70, 70)
    theirs = their_dinov2(state)(pixel_values=pictures).last_hidden_state[:, 0]
    near(VisionTransformer.of(state)(pictures), theirs)


@torch.no_grad()
def test_clip_equals_an_independent_one_in_both_towers() -> None:
    state = tiny_weights.clip()
    ours, theirs = Clip.of(state), their_clip(state)
    pictures = torch.randn(3, 3, 64, 64)
    vision = theirs.visual_projection(theirs.vision_model(pictures).pooler_output)
    near(ours.visual(pictures), vision)
    tokens = torch.zeros(2, 77, dtype=torch.long)
    tokens[0, :5] = torch.tensor([598, 3, 44, 7, 599])
    tokens[1, :77] = torch.cat((torch.tensor([598]), torch.arange(1, 76), torch.tensor([599])))
    text = theirs.text_projection(theirs.text_model(input_ids=tokens).pooler_output)
    near(ours.encode_text(tokens), text)


@pytest.mark.parametrize("kind", ["dinov2", "clip"])
def test_what_transformers_saves_is_read(kind: str, tmp_path: Path) -> None:
    """The layout of the files on Hugging Face, which differs from that in memory."""
    state = tiny_weights.clip() if kind == "clip" else tiny_weights.dino(14, 5, second=True)
    model = their_clip(state) if kind == "clip" else their_dinov2(state)
    model.save_pretrained(tmp_path)
    read = read_state(tmp_path / "model.safetensors")
    assert "visual.conv1.weight" not in read
    assert "cls_token" not in read
    named = clip_names(read) if kind == "clip" else dino_names(read)
    assert named.keys() == state.keys()
    assert all(torch.equal(named[name], state[name]) for name in state)


def test_the_old_layout_of_vit_is_read() -> None:
    """As facebook/dino-vitb16 was published; its pooler was never trained and is dropped."""
    state = tiny_weights.dino()
    inside = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
    }
    inside |= {"mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense"}
    old = {"pooler.dense.weight": torch.zeros(1), "pooler.dense.bias": torch.zeros(1)}
    new = hugging_vit(state, "layers", scaled=False)
    old |= {name: x for name, x in new.items() if not name.startswith("layers.")}
    for number in range(2):
        theirs = f"encoder.layer.{number}"
        for kind in ("weight", "bias"):
            parts = state[f"blocks.{number}.attn.qkv.{kind}"].chunk(3)
            for part, x in zip(("query", "key", "value"), parts, strict=True):
                old[f"{theirs}.attention.attention.{part}.{kind}"] = x
            for ours, name in inside.items():
                old[f"{theirs}.{name}.{kind}"] = state[f"blocks.{number}.{ours}.{kind}"]
    named = dino_names(old)
    assert named.keys() == state.keys()
    assert all(torch.equal(named[name], state[name]) for name in state)


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (7, 7), (3, 4)])
def test_positions_are_interpolated_as_released(rows: int, columns: int) -> None:
    """By a factor that is a tenth of a patch too large; to the exact size differs."""
    network = VisionTransformer.of(tiny_weights.dino())
    grid = network.pos_embed[0, 1:].T.reshape(1, 128, 4, 4)
    factor = ((rows + 0.1) / math.sqrt(16), (columns + 0.1) / math.sqrt(16))
    expected = interpolate(grid, scale_factor=factor, mode="bicubic").flatten(2)[0].T
    made = network.positions(rows, columns)
    assert torch.equal(made[0, 1:], expected)
    assert torch.equal(made[0, 0], network.pos_embed[0, 0])
    plain = interpolate(grid, size=(rows, columns), mode="bicubic").flatten(2)[0].T
    assert 1e-4 < (plain - expected).abs().max() < 0.3


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ({"width": 768, "depth": 12, "patch": 16, "grid": 14, "second": False}, 85_798_656),
        ({"width": 384, "depth": 12, "patch": 14, "grid": 37, "second": True}, 22_056_576),
        ({"width": 768, "depth": 12, "patch": 14, "grid": 37, "second": True}, 86_580_480),
    ],
)
def test_published_sizes_have_the_published_number_of_parameters(
    shape: dict[str, Any], parameters: int
) -> None:
    with torch.device("meta"):
        network = VisionTransformer(**shape)
    assert sum(weight.numel() for weight in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("image", "text", "parameters"),
    [
        ((768, 12, 32, 7, 512), (512, 12, 77, 49408), 151_277_313),
        ((1024, 24, 14, 16, 768), (768, 12, 77, 49408), 427_616_513),
    ],
)
def test_clip_has_the_number_of_parameters_that_its_authors_print(
    image: tuple[int, ...], text: tuple[int, ...], parameters: int
) -> None:
    with torch.device("meta"):
        network = Clip(ImageTower(*image), *text)
    assert sum(weight.numel() for weight in network.parameters()) == parameters


def test_weights_of_another_network_are_refused() -> None:
    state = tiny_weights.dino()
    with pytest.raises(ValueError, match=r"(?s)not the weights of DINO.*blocks.1.norm1.bias"):
        VisionTransformer.of({k: v for k, v in state.items() if k != "blocks.1.norm1.bias"})
    with pytest.raises(ValueError, match=r"(?s)not the weights of DINO.*register_tokens"):
        VisionTransformer.of({**state, "register_tokens": torch.zeros(1, 4, 128)})
    with pytest.raises(ValueError, match="not the weights of DINO"):
        VisionTransformer.of(tiny_weights.clip())
    with pytest.raises(ValueError, match="not the weights of a CLIP"):
        Clip.of(state)


@pytest.fixture
def dino(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Tiny weights that the registry knows as "tiny-dino"."""
    tiny_weights.registered(monkeypatch, "dino-vitb16", "tiny-dino", width=128)
    return tiny_weights.saved(tiny_weights.dino(), tmp_path / "dino_vitbase16_pretrain.pth")


@pytest.fixture
def clip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Tiny weights that the registry knows as "tiny-clip"; pictures of 64 pixels."""
    tiny_weights.registered(monkeypatch, "clip-vit-b32", "tiny-clip", width=64)
    return tiny_weights.saved(tiny_weights.clip(), tmp_path / "ViT-B-32.pt")


@pytest.mark.parametrize("size", [(24, 36), (96, 70)])
def test_frames_are_prepared_as_vbench_does(size: tuple[int, int], dino: Path, clip: Path) -> None:
    """On 0 to 255, in VBench's order of steps."""
    levels = (torch.rand(2, 3, *size) * 255).round()
    theirs = Compose(
        [
            Resize(224, antialias=False),
            lambda x: x.float().div(255.0),
            Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(levels)
    ours = Dino("tiny-dino", dino).prepare(levels / 255)
    assert min(ours.shape[-2:]) == 224
    near(ours, theirs)
    middle = [(size[i] * 64 // min(size) - 64) / 2 for i in (0, 1)]
    sized = Resize(64, InterpolationMode.BICUBIC, antialias=False)(levels) / 255
    top, left = (round(x) for x in middle)
    cropped = sized[..., top : top + 64, left : left + 64]
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    near(ClipExtractor("tiny-clip", clip).prepare(levels / 255), Normalize(mean, std)(cropped))
    assert sized.max() > 1, "nothing overshot, so this shows nothing about clamping"


@pytest.fixture(params=["dino", "clip"])
def extractor(request: pytest.FixtureRequest) -> Extractor:
    path = request.getfixturevalue(request.param)
    return Dino("tiny-dino", path) if request.param == "dino" else ClipExtractor("tiny-clip", path)


def test_features_do_not_depend_on_what_comes_along(extractor: Extractor) -> None:
    frames = torch.rand(5, 3, 32, 40)
    together = extractor(frames)
    assert together.shape == (5, extractor.width)
    assert torch.equal(together, torch.cat([extractor(frame[None]) for frame in frames]))
    assert torch.equal(together[[3, 0]], extractor(frames[[3, 0]]))
    assert extractor(frames[:0]).shape == (0, extractor.width)


def test_batches_are_filled_up_and_change_nothing_but_rounding(dino: Path) -> None:
    frames = torch.rand(5, 3, 32, 40)
    batched = Dino("tiny-dino", dino, batch=4)
    sizes = []
    batched.network.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    near(batched(frames), Dino("tiny-dino", dino)(frames))
    assert sizes == [4, 4]


def test_bytes_and_floats_are_seen_alike_and_an_extractor_pickles(extractor: Extractor) -> None:
    frames = (torch.rand(2, 3, 32, 40) * 255).byte()
    again = pickle.loads(pickle.dumps(extractor))
    assert torch.equal(extractor(frames / 255), again((frames / 255).double()))
    assert again.provenance() == extractor.provenance()


def test_features_do_not_depend_on_the_precision_that_others_set(
    dino: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(*_: Any) -> None:
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))

    made = Dino("tiny-dino", dino)
    made.network.register_forward_hook(look)
    torch.set_float32_matmul_precision("medium")
    try:
        made(torch.rand(1, 3, 20, 20))
        look()
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == [("highest", False), ("medium", True)]


def test_results_say_what_made_them(dino: Path) -> None:
    seen = Features(Dino("tiny-dino", dino)).provenance()
    assert seen["by"] == seen["extractor"] == "tiny-dino"
    assert len(seen["weights"]["sha256"]) == 64
    assert seen["weights"]["verified"] is False
    assert seen["preprocessing"]["short side"] == 224
    assert seen["tolerance"] == 0
    assert Dino("tiny-dino", dino, batch=2).provenance()["tolerance"] == 1e-4
    assert seen["versions"]["torch"] == torch.__version__
    first = Features(Dino("tiny-dino", dino)).digest()
    tiny_weights.saved({**tiny_weights.dino(), "cls_token": torch.ones(1, 1, 128)}, dino)
    assert Features(Dino("tiny-dino", dino)).digest() != first


class Likeness(VideoMetric):
    """Mean length of the mean feature vector of a second: enough to see a change of features."""

    def score(self, videos: list[Scored]) -> Result:
        lengths = {
            one.video: float((one.sums / one.count[:, None]).norm(dim=1).mean()) for one in videos
        }
        windows = {one.video: one.sums.sum(1) for one in videos}
        return self.answer(sum(lengths.values()), lengths, per_window=windows)


@pytest.mark.parametrize("name", ["handcrafted-v2", "tiny-dino"])
def test_chunks_leave_no_trace_in_a_metric_of_features(name: str, dino: Path) -> None:
    made = Handcrafted() if name == "handcrafted-v2" else Dino("tiny-dino", dino)
    one, other = (Likeness(Features(made, rate=4.0)) for _ in range(2))
    for video in moving(2, 12):
        video.give(one)
        for piece in reversed(list(cut(video, 1, 2, 5, 9))):
            piece.give(other)
    assert one.result().name == f"Likeness[{name}]"
    assert abs(one.result().value - other.result().value) < 1e-9
    for video, row in one.result().per_window.items():
        near(row, other.result().per_window[video], 1e-9)


def test_a_file_of_another_width_is_refused(
    clip: Path, dino: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="width 128, but dino-vitb16 has 768"):
        Dino("dino-vitb16", dino)
    with pytest.raises(ValueError, match="not the weights of DINO"):
        Dino("tiny-dino", clip)
    with pytest.raises(ValueError, match="no weights are named 'auto'"):
        Dino("auto")


def test_torchscript_is_read_without_running_it(tmp_path: Path) -> None:
    """OpenAI publishes CLIP so, in half precision."""

    class Part(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2)
            self.layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
            self.free = torch.nn.Parameter(torch.randn(3))
            self.register_buffer("input_resolution", torch.tensor(224))

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x) + self.free.sum() * self.input_resolution

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(Part(), torch.rand(2, 8)).half()
        traced.save(str(tmp_path / "part.pt"))
    read = read_state(tmp_path / "part.pt")
    expected = traced.state_dict()
    assert read.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(read[name], weight.float() if weight.is_floating_point() else weight)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("touched"),)


def test_a_file_with_code_is_refused_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.zeros(1), "b": Evil()}, "evil.pth")
    with pytest.raises(ValueError, match="nothing in it was run"):
        read_state(Path("evil.pth"))
    assert not Path("touched").exists()
    torch.save({"a": torch.zeros(1), "epoch": 3}, "more.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        read_state(Path("more.pth"))
    for name in ("cut.pth", "cut.safetensors"):
        Path(name).write_bytes(Path("more.pth").read_bytes()[:100])
        with pytest.raises(ValueError, match=f"{name} cannot be read as weights"):
            read_state(Path(name))
