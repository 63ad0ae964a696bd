"""How a transformer takes what it is conditioned on: time, text, control, a picture."""

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor, nn

from cf.types import Conditioning, Latents, Times


def sinusoid(t: Times, width: int) -> Float[Tensor, "b f width"]:
    """Cosines and sines of the times, which Wan2.1 counts to 1000, found in float64."""
    half = torch.arange(width // 2, device=t.device, dtype=torch.float64)
    angle = 1000 * t.double()[..., None] * 10_000.0 ** (-half / len(half))
    return torch.cat((angle.cos(), angle.sin()), -1)


def text_tokens(
    cond: Conditioning, embedding: nn.Module | None, length: int, width: int | None, of: torch.dtype
) -> Float[Tensor, "b s dim"] | None:
    """The text's tokens, zero-padded to their full length before they are embedded.

    Args:
        cond: what the video should show.
        embedding: None: the model has no text.
        length: tokens of a text.
        width: numbers in the state of each token.
        of: type of the embedding's parameters.

    Raises:
        ValueError: if there is text where none is taken, none where it is, or of other sizes.
    """
    if embedding is None:
        if cond.text is not None:
            raise ValueError("this model was built without text (text_dim is null)")
        return None
    if cond.text is None:
        raise ValueError("this model is conditioned on text: give the text encoder's states")
    count, wide = cond.text.shape[1:]
    if count > length or wide != width:
        raise ValueError(
            f"text states of shape {count} x {wide} do not fit this model: it takes at most "
            f"text_len={length} tokens of text_dim={width}"
        )
    tokens: Tensor = embedding(F.pad(cond.text.to(of), (0, 0, 0, length - count)))
    return tokens


def image_tokens(
    cond: Conditioning, embedding: nn.Module | None, width: int | None, of: torch.dtype
) -> Float[Tensor, "b p dim"] | None:
    """The tokens of a picture that the model attends beside the text.

    Raises:
        ValueError: if there is a picture where none is taken, none where it is, or of another size.
    """
    if embedding is None:
        if cond.image is not None:
            raise ValueError("this model was built without an image branch (image_dim is null)")
        return None
    if cond.image is None:
        raise ValueError(
            "this model is conditioned on a picture: give the image encoder's states, image=..."
        )
    if cond.image.shape[-1] != width:
        raise ValueError(
            f"image states of {cond.image.shape[-1]} numbers do not fit this model: it takes "
            f"image_dim={width}"
        )
    tokens: Tensor = embedding(cond.image.to(of))
    return tokens


def with_control(
    x: Float[Tensor, "b f n dim"],
    cond: Conditioning,
    at: Tensor,
    embedding: nn.Module | None,
    width: int | None,
    cells: tuple[int, int] | None = None,
    grid: tuple[int, int] = (1, 1),
) -> Float[Tensor, "b f n dim"]:
    """Tokens plus the embedded control signal of the frames `at`.

    Args:
        x: tokens of these frames.
        cond: holds the signal.
        at: the frames' numbers in the signal.
        embedding: None: the model takes no control.
        width: of the signal, or of each of its cells.
        cells: rows and columns of a signal that differs over the picture, row by row; None: it
            holds for the whole frame.
        grid: rows and columns of tokens, over which cells are spread by area.

    Raises:
        ValueError: if there is control where none is taken, none where it is, or of another width.
    """
    if (embedding is None) != (cond.control is None):
        raise ValueError(
            f"control_dim is {width} but the conditioning "
            f"{'has no' if cond.control is None else 'has a'} control signal"
        )
    if embedding is None or cond.control is None:
        return x
    rows, columns = cells or (1, 1)
    if cond.control.shape[-1] != rows * columns * (width or 0):
        of = f" of each of {rows} x {columns} cells" if cells else ""
        raise ValueError(
            f"control has {cond.control.shape[-1]} channels, control_dim is {width}{of}; give the "
            f"world as many places, or train with model.control_dim="
            f"{cond.control.shape[-1] // (rows * columns)}"
        )
    signal = cond.control[:, at].to(x.dtype).unflatten(-1, (rows * columns, -1))
    if cells is not None and cells != grid:
        spread = signal.unflatten(2, cells).movedim(-1, 2).flatten(0, 1)
        spread = F.adaptive_avg_pool2d(spread, grid)
        signal = spread.unflatten(0, signal.shape[:2]).flatten(3).movedim(2, -1)
    added: Tensor = embedding(signal)
    return x + added  # one cell, that of the frame, is for all of its tokens


def with_reference(x_t: Latents, cond: Conditioning, at: Tensor, channels: int) -> Latents:
    """Latents with the channels that a reference gives each of the frames `at`.

    Raises:
        ValueError: if there is a reference where none is taken, none where it is, or of another
            size.
    """
    if cond.reference is None:
        if channels:
            raise ValueError(
                f"this model takes {channels} reference channels (an image-to-video model): give "
                "a picture, image=..."
            )
        return x_t
    if not channels:
        raise ValueError("this model was built without reference_channels: it takes no picture")
    size = tuple(cond.reference.shape[2:])
    if size != (channels, *x_t.shape[-2:]):
        raise ValueError(
            f"the reference has frames of {size}, but this model takes {channels} channels of "
            f"{x_t.shape[-2]} x {x_t.shape[-1]} latents"
        )
    return torch.cat((x_t, cond.reference[:, at].to(x_t.dtype)), 2)


def random_conditioning(network: Any, batch: int, frames: int) -> Conditioning:
    """Random conditioning of the kinds that a `VideoTransformer` was built for."""
    text = None
    if network.text_dim is not None:
        text = torch.randn(batch, network.text_len, network.text_dim, device=network.device)
    control = None
    if network.control_dim is not None:
        count = math.prod(network.control_cells or (1, 1))
        control = torch.randn(batch, frames, count * network.control_dim, device=network.device)
    image = reference = None
    if network.image_dim is not None:
        image = torch.randn(batch, 257, network.image_dim, device=network.device)
    if network.reference_channels:
        size = (network.reference_channels, *network.latent_shape[1:])
        reference = torch.randn(batch, frames, *size, device=network.device)
    return Conditioning(text, control, image=image, reference=reference)
