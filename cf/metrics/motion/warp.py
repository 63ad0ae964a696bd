"""Pictures moved along optical flow."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


def planes(picture: np.ndarray) -> Float[Tensor, "c h w"]:
    """A picture or flow with its channels first."""
    return torch.from_numpy(picture).permute(2, 0, 1).float().contiguous()


def followed(moved: Float[Tensor, "c h w"], flow: Float[Tensor, "2 h w"]) -> Float[Tensor, "c h w"]:
    """The planes where the flow leads, between pixels linearly, beyond the border as at it."""
    height, width = flow.shape[1:]
    far = torch.tensor([width - 1, height - 1]).view(2, 1, 1)
    at: Tensor = _places(flow) * 2 / far - 1
    sampled: Tensor = torch.nn.functional.grid_sample(
        moved[None], at.permute(1, 2, 0)[None], padding_mode="border", align_corners=True
    )
    return sampled[0]


def inside(flow: Float[Tensor, "2 h w"]) -> Bool[Tensor, "h w"]:
    """Which pixels the flow keeps in the picture."""
    height, width = flow.shape[1:]
    x, y = _places(flow)
    within: Tensor = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return within


def _places(flow: Float[Tensor, "2 h w"]) -> Float[Tensor, "2 h w"]:
    """Where the flow leads from each pixel."""
    height, width = flow.shape[1:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((x, y)) + flow
