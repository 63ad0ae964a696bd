"""Repositories in which weights of Wan's architecture are published: their files and licences."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

ROOT = "weights"
"""The folder, below the one that one works in, that has a folder for each repository."""


@dataclass(frozen=True)
class File:
    """One published file.

    Attributes:
        path: in its repository; a pattern where a folder is taken as a whole.
        size: bytes; None: not known here.
        sha256: None: not known here.
    """

    path: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Release:
    """A repository of Hugging Face, as far as something here reads of it.

    Attributes:
        repository: owner and name.
        folder: of its files, below `ROOT`.
        licence: as its authors say, or "unknown"; of the code where it says so.
        files: what is read, the network first.
        network: the files of a network that lies in several; empty: each network is one file.
        codec, text, image_encoder: the files among them that these parts read.
        updates: by a network's file, the LoRA without which it is another model.
    """

    repository: str
    licence: str
    files: tuple[File, ...]
    codec: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    image_encoder: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    updates: tuple[tuple[str, str], ...] = ()

    @property
    def folder(self) -> str:
        """The repository's own name."""
        return self.repository.rpartition("/")[2]

    def command(self, paths: Iterable[str]) -> str:
        """What downloads these files to where they are looked for."""
        named = [f"--include {shlex.quote(p)}" if "*" in p else shlex.quote(p) for p in paths]
        return " ".join(
            ["hf download", self.repository, *named, f"--local-dir {ROOT}/{self.folder}"]
        )

    def file(self, path: str) -> File:
        """What is known of a file."""
        return next((file for file in self.files if file.path == path), File(path))


_WORDS = "google/umt5-xxl"
_T5, _VAE = "models_t5_umt5-xxl-enc-bf16.pth", "Wan2.1_VAE.pth"
_CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
_SHARDS = "diffusion_pytorch_model*"
_WAN = (  # sizes and hashes as its repository states them at 37ec512
    File(
        "diffusion_pytorch_model.safetensors",
        5676070424,
        "96b6b242ca1c2f24e9d02cd6596066fab6d310e2d7538f33ae267cb18d957e8f",
    ),
    File("config.json", 249, "ab37994c43740513f94b3ba6233a784035a67b43c8cde83c8f31aa90468c67ce"),
    File(_VAE, 507609880, "38071ab59bd94681c686fa51d75a1968f64e470262043be31f7a094e442fd981"),
    File(_T5, 11361920418, "7cace0da2b446bbbbc57d031ab6cf163a3d59b366da94e5afe36745b746fd81d"),
    File(
        f"{_WORDS}/spiece.model",
        4548313,
        "e3909a67b780650b35cf529ac782ad2b6b26e6d1f849d3fbb6a872905f452458",
    ),
    File(
        f"{_WORDS}/tokenizer.json",
        16837417,
        "6e197b4d3dbd71da14b4eb255f4fa91c9c1f2068b20a2de2472967ca3d22602b",
    ),
    File(
        f"{_WORDS}/tokenizer_config.json",
        61728,
        "ed9a3a8b0faa71a70a32847e0435fe036e6e112d4df4edb7bb48a921e344dc05",
    ),
    File(
        f"{_WORDS}/special_tokens_map.json",
        6623,
        "7b8a9f5040adb67b5805abdfd42c1f8d0f3d0e711f10726580eb3789cd0ad61d",
    ),
)
_CAUSAL = (  # likewise, at 2f8eb8b
    File(
        "chunkwise/causal_forcing.pt",
        5676282643,
        "cf75ee5cc6f4e2e336c59c973f5544655d8f0aa481761efe6de1b9cb2eb0cd9d",
    ),
    File(
        "framewise/causal_forcing.pt",
        5676220819,
        "70cae8c3b0b7191fa9840b4f6fe8655ba0cf5c6520c87ba85a46b861c3735cd3",
    ),
    File(
        "causal-forcing++/framewise-2step.pt",
        5676220819,
        "8f899a016dffb9539788fac82c6200e43ef6e23b6e61ec6b885bb507a760ce42",
    ),
    File(
        "causal-forcing++/framewise-1step.pt",
        5676220819,
        "bdb1b475fc88d528f510158a0990cd457f02c661b527ceb11ca9e4728533e2d0",
    ),
    File("chunkwise/longvideo.pt"),
)
_ALL = (
    Release(
        "Wan-AI/Wan2.1-T2V-1.3B",
        "Apache-2.0",
        _WAN,
        codec=(_VAE,),
        text=(_T5, *(file.path for file in _WAN if file.path.startswith(_WORDS))),
    ),
    Release(
        "Wan-AI/Wan2.1-I2V-14B-480P",
        "Apache-2.0",
        (File(_SHARDS), *(File(file.path) for file in _WAN[1:]), File(_CLIP)),
        codec=(_VAE,),
        text=(_T5, *(file.path for file in _WAN if file.path.startswith(_WORDS))),
        image_encoder=(_CLIP,),
        network=(_SHARDS,),
    ),
    Release(
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        "Apache-2.0",
        tuple(File(f"{part}/*") for part in ("transformer", "vae", "text_encoder", "tokenizer")),
        codec=("vae/*",),
        text=("text_encoder/*", "tokenizer/*"),
    ),
    Release(
        "gdhe17/Self-Forcing",
        "Apache-2.0 (code)",
        (File("checkpoints/self_forcing_dmd.pt"), File("checkpoints/ode_init.pt")),
    ),
    Release(
        "tianweiy/CausVid", "CC BY-NC-SA 4.0 (code)", (File("autoregressive_checkpoint/model.pt"),)
    ),
    Release("zhuhz22/Causal-Forcing", "Apache-2.0", _CAUSAL),
    Release(
        "Efficient-Large-Model/LongLive-1.3B",
        "Apache-2.0 (code)",
        (File("models/longlive_base.pt"), File("models/lora.pt")),
        updates=(("models/longlive_base.pt", "models/lora.pt"),),
    ),
    Release(
        "TencentARC/RollingForcing",
        "its own (code)",
        (File("checkpoints/rolling_forcing_dmd.pt"),),
    ),
    Release(
        "JaydenLu666/Reward-Forcing-T2V-1.3B", "Apache-2.0 (code)", (File("rewardforcing.pt"),)
    ),
    Release("SOTAMak1r/Infinite-Forcing", "unknown", (File("ema_model.pt"),)),
    Release(
        "JunhaoZhuang/Self_Gradient_Forcing",
        "Apache-2.0 (code)",
        (File("chunkwise/ar/model.pt"), File("framewise/ar/model.pt")),
    ),
    Release(
        "ZihanSu/Self_Gradient_Forcing_Plus",
        "Apache-2.0 (code)",
        (File("chunkwise/model.pt"), File("framewise/model.pt")),
    ),
    Release("ShuoChen20/context_forcing", "CC BY-NC-SA 4.0 (at second hand)", (File("model.pt"),)),
)
RELEASES = {release.folder: release for release in _ALL}
"""Everything that is known, by the name of its folder."""
