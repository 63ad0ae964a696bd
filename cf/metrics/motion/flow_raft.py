"""Optical flow by RAFT, with weights of yours in either published format."""

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.models.optical_flow import RAFT, raft_large
from typing_extensions import override

from cf.files.home import expanded
from cf.files.pickled import load_tensors
from cf.metrics.motion.flow import Field, Flow, Picture
from cf.system.opencv import cv2

_LEAST = 128  # pixels: the coarsest of RAFT's four levels of correlation needs two cells


@dataclass(frozen=True)
class Raft(Flow):
    """RAFT (Teed and Deng 2020, arXiv 2003.12039), large, 20 updates as VBench has it.

    Pictures are padded by their border to whole eights; those under 128 pixels are enlarged first.

    Attributes:
        weights: the file: `raft-things.pth` of the authors, or torchvision's port of it
            (`raft_large_C_T_V1-22a6c225.pth`).
        sha256: of the file.
        updates: of the recurrence.
        device: on which it runs.
    """

    name = "raft-things"
    weights: Path = field(compare=False)
    sha256: str
    updates: int = 20
    device: str = field(default="cpu", compare=False)

    @staticmethod
    def load(weights: str | Path | None, device: str = "cpu") -> "Raft":
        """The backend with the weights of a file, which is read now."""
        remedy = (
            "give the path of raft-things.pth (BSD-3, from RAFT's authors) or of torchvision's "
            "raft_large_C_T_V1-22a6c225.pth as weights=..., or take flow='dis', which needs none"
        )
        if weights is None:
            raise ValueError(
                f"flow='raft-things' was given no weights, and none are looked for; {remedy}"
            )
        path = expanded(weights)
        if not path.is_file():
            raise ValueError(f"flow='raft-things' found no weights at {path}; {remedy}")
        raft = Raft(path, hashlib.sha256(path.read_bytes()).hexdigest(), device=device)
        _network(raft.weights, raft.sha256, device)
        return raft

    @override
    def __call__(self, one: Picture, other: Picture) -> Field:
        height, width = one.shape[:2]
        enlarge = max(1.0, _LEAST / min(height, width))
        size = round(width * enlarge), round(height * enlarge)
        pair = torch.cat([_prepared(picture, size) for picture in (one, other)]).to(self.device)
        network = _network(self.weights, self.sha256, self.device)
        with torch.no_grad():
            flow = network(pair[:1], pair[1:], num_flow_updates=self.updates)[-1]
        top, left = ((flow.shape[2] - size[1]) // 2, (flow.shape[3] - size[0]) // 2)
        inner = flow[0, :, top : top + size[1], left : left + size[0]].permute(1, 2, 0)
        vectors = inner.cpu().contiguous().numpy()
        if enlarge > 1:
            vectors = cv2.resize(vectors, (width, height), interpolation=cv2.INTER_AREA)
            vectors = vectors * np.array([width / size[0], height / size[1]], np.float32)
        return np.asarray(vectors, np.float32)

    @override
    def provenance(self) -> dict[str, Any]:
        return {"flow": "RAFT large", "weights_sha256": self.sha256, "updates": self.updates}


def torchvision_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state of the authors' code under torchvision's names; one of torchvision's as it is."""
    if not any(name.removeprefix("module.").startswith("fnet.") for name in state):
        return state
    named = {}
    for name, value in state.items():
        new = name.removeprefix("module.")
        # The authors register the norm of a shortcut twice: as `norm3` and in `downsample`.
        if re.search(r"layer\d\.\d\.norm3\.", new):
            continue
        for pattern, replacement in _RENAMED:
            new = re.sub(pattern, replacement, new)
        named[new] = value
    return named


_RENAMED = (
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"(layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"(layer\d\.\d)\.norm(\d)\.", r"\1.convnormrelu\2.1."),
    (r"^(\w+_encoder)\.conv1\.", r"\1.convnormrelu.0."),
    (r"^(\w+_encoder)\.norm1\.", r"\1.convnormrelu.1."),
    (r"^(\w+_encoder)\.conv2\.", r"\1.conv."),
    (r"^update_block\.encoder\.conv([cf])(\d)\.", r"update_block.motion_encoder.conv\1\2.0."),
    (r"motion_encoder\.convc", "motion_encoder.convcorr"),
    (r"motion_encoder\.convf", "motion_encoder.convflow"),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"^update_block\.gru\.conv([zrq])(\d)\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
)


@lru_cache(maxsize=2)
def _network(weights: Path, sha256: str, device: str) -> RAFT:
    state = load_tensors(weights)
    network = raft_large(weights=None)
    try:
        network.load_state_dict(torchvision_names(state))
    except RuntimeError as error:
        raise ValueError(f"{weights} holds no weights of RAFT large: {error}") from error
    return network.eval().requires_grad_(False).to(device)


def _prepared(picture: Picture, size: tuple[int, int]) -> Tensor:
    """A batch of one in [-1, 1], enlarged to a size and padded to eights on both sides."""
    if picture.shape[1::-1] != size:
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    high, wide = (-side % 8 for side in (size[1], size[0]))
    pads = (wide // 2, wide - wide // 2, high // 2, high - high // 2)
    return torch.nn.functional.pad(batch, pads, mode="replicate")
