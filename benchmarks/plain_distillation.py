"""Contextual DMD as one would write it by hand: a small transformer, a rollout, two optimisers.

The maths and the names of parameters are those of `cf.models.transformer.VideoTransformer` with a
control signal and no text, under full memory. No Lightning, no settings, no checks, no logs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor, nn

Cache = list[tuple[Tensor, Tensor]]
"""Each layer's rotated keys and values."""
Noise = Callable[[int, int], Tensor]
"""(first frame of a block, denoising step) -> noise."""


class Norm(nn.Module):
    """RMS norm with a weight."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalised."""
        return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)


class SelfAttention(nn.Module):
    """Attention over cached tokens and one's own."""

    def __init__(self, dim: int, heads: int, eps: float) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k, self.heads = Norm(dim, eps), Norm(dim, eps), heads

    def forward(
        self, x: Tensor, turn: Tensor, seen: tuple[Tensor, Tensor] | None, mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The attended values, and one's own rotated keys and values."""
        shape = (*x.shape[:2], self.heads, -1)
        q, k = _turned(self.norm_q(self.q(x)).view(shape), turn), self.norm_k(self.k(x))
        k, v = _turned(k.view(shape), turn), self.v(x).view(shape)
        own = k, v
        if seen is not None:
            k, v = torch.cat((seen[0], k), 1), torch.cat((seen[1], v), 1)
        q, k, v = (one.transpose(1, 2) for one in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o(out.transpose(1, 2).flatten(2)), own


class Layer(nn.Module):
    """Attention and feed-forward, modulated by time."""

    def __init__(self, dim: int, heads: int, ffn_dim: int, eps: float) -> None:
        super().__init__()
        self.modulation = nn.Parameter(torch.randn(1, 6, dim))
        self.self_attn, self.eps = SelfAttention(dim, heads, eps), eps
        self.ffn = nn.Sequential(
            nn.Linear(dim, ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(ffn_dim, dim)
        )

    def forward(self, x: Tensor, time: Tensor, *place: Any) -> tuple[Tensor, Any]:
        """Tokens (batch, frame, token, channel) after this layer, and its keys and values."""
        a, b, c, d, e, f = (self.modulation + time).unsqueeze(3).unbind(2)
        seen = F.layer_norm(x, x.shape[-1:], eps=self.eps) * (1 + b) + a
        out, own = self.self_attn(seen.flatten(1, 2), *place)
        x = x + c * out.view_as(x)
        seen = F.layer_norm(x, x.shape[-1:], eps=self.eps) * (1 + e) + d
        return x + f * self.ffn(seen), own


class Head(nn.Module):
    """From tokens to patches."""

    def __init__(self, dim: int, out: int, eps: float) -> None:
        super().__init__()
        self.modulation, self.eps = nn.Parameter(torch.randn(1, 2, dim)), eps
        self.head = nn.Linear(dim, out)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Patches."""
        a, b = (self.modulation + time.unsqueeze(2)).unsqueeze(3).unbind(2)
        patches: Tensor = self.head(F.layer_norm(x, x.shape[-1:], eps=self.eps) * (1 + b) + a)
        return patches


class Network(nn.Module):
    """A transformer that says x0.

    Attributes:
        size: of `configs/model`: dim, num_heads, num_layers, ffn_dim, latent_shape, patch_size,
            freq_dim, rope_axes, control_dim, x0_limit.
    """

    def __init__(self, size: dict[str, Any], eps: float = 1e-6) -> None:
        super().__init__()
        self.size, dim = size, size["dim"]
        (channels, height, width), (rows, columns) = size["latent_shape"], size["patch_size"]
        self.grid = height // rows, width // columns
        self.patch_embedding = nn.Conv3d(channels, dim, (1, rows, columns), (1, rows, columns))
        self.control_embedding = nn.Linear(size["control_dim"], dim)
        self.time_embedding = nn.Sequential(
            nn.Linear(size["freq_dim"], dim), nn.SiLU(), nn.Linear(dim, dim)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        shape = dim, size["num_heads"], size["ffn_dim"], eps
        self.blocks = nn.ModuleList(Layer(*shape) for _ in range(size["num_layers"]))
        self.head = Head(dim, channels * rows * columns, eps)

    def turns(self, origin: Tensor) -> Tensor:
        """The rotation of every token, where frames' corners lie at (row, column)."""
        at = (torch.arange(origin.shape[1]), *map(torch.arange, self.grid))
        place = torch.stack(torch.meshgrid(*at, indexing="ij"), -1).flatten(1, 2).double()
        place = place + F.pad(origin, (1, 0))[:, :, None]
        each = zip(place.unbind(-1), self.size["rope_axes"], strict=True)
        angles = [x[..., None] * 10_000.0 ** (-torch.arange(0, n, 2).double() / n) for x, n in each]
        angle = torch.cat(angles, -1).unsqueeze(-2)
        return torch.complex(angle.cos(), angle.sin()).to(torch.complex64)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        told: tuple[Tensor, Tensor],
        at: Tensor | slice,
        cache: Cache | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Cache]:
        """Velocity of the frames `at` these numbers, and their keys and values.

        `told` holds control and `turns` of all frames.
        """
        rows, columns = self.size["patch_size"]
        patches = x_t.unfold(3, rows, rows).unfold(4, columns, columns)
        patches = patches.permute(0, 1, 3, 4, 2, 5, 6).flatten(4).flatten(2, 3)
        x = F.linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        x = x + self.control_embedding(told[0][:, at]).unsqueeze(2)
        half = torch.arange(self.size["freq_dim"] // 2).double() / (self.size["freq_dim"] // 2)
        angle = 1000 * t.double()[..., None] * 10_000.0**-half
        time = self.time_embedding(torch.cat((angle.cos(), angle.sin()), -1).float())
        modulation = self.time_projection(time).unflatten(-1, (6, -1))
        turn, made = told[1][:, at].flatten(1, 2), []
        for i, layer in enumerate(self.blocks):
            x, own = layer(x, modulation, turn, cache[i] if cache else None, mask)
            made.append(own)
        out = self.head(x, time).unflatten(2, self.grid).unflatten(-1, (rows, columns, -1))
        out = out.permute(0, 1, 6, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)
        out = out.clamp(-self.size["x0_limit"], self.size["x0_limit"])
        return (x_t - out) / t.clamp(min=0.1)[..., None, None, None], made


@dataclass
class Loop:
    """The loop's networks, optimisers and numbers.

    Attributes:
        times: of the denoising steps.
        frames, window: of a rollout, and how many of them at its end are scored.
    """

    student: Network
    teacher: Network
    critic: Network
    average: Network
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer]
    times: list[float]
    frames: int
    window: int
    block: int = 3
    shift: float = 5.0
    decay: float = 0.9
    updates: int = 0

    def __post_init__(self) -> None:
        tokens, at = self.student.grid[0] * self.student.grid[1], torch.arange(self.frames)
        clean, noisy = at // self.block, at[-self.window :] // self.block
        causal = clean[:, None] >= clean[None]
        below = torch.cat((noisy[:, None] > clean[None], noisy[:, None] == noisy[None]), 1)
        above = torch.cat((causal, torch.zeros(self.frames, self.window, dtype=torch.bool)), 1)
        self._spread = lambda rule: rule.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
        self._causal, self._scoring = self._spread(causal), self._spread(torch.cat((above, below)))
        self._rows, self._tokens = torch.cat((at, at[-self.window :])), tokens

    def step(
        self,
        given: Tensor,
        control: Tensor,
        origin: Tensor,
        exit_step: int,
        noise: Noise,
        uniform: Tensor,
        eps: Tensor,
        critic: bool,
    ) -> Tensor:
        """One update of the critic or of the student; the loss.

        Args:
            given: real frames that the rollout starts from.
            control: per-frame signal of all frames.
            origin: (row, column) of the corner of all frames.
            exit_step: the denoising step at which scored frames are taken.
            noise: of the rollout.
            uniform: (batch, 1) evenly in [0, 1): gives the time at which a window is scored.
            eps: noise of the window that is scored.
            critic: who is trained.
        """
        told = control[:, : self.frames], self.student.turns(origin[:, : self.frames])
        past, frames = self._roll(given, told, exit_step, noise, not critic)
        x = frames.detach()
        clean, t = torch.cat((past, x), 1), self.shift * uniform / (1 + (self.shift - 1) * uniform)
        t = t.clamp(0.02, 0.98).expand(-1, self.window)
        x_t = (1 - t[..., None, None, None]) * x + t[..., None, None, None] * eps
        if critic:
            velocity = self._score(self.critic, clean, x_t, t, told)
            target = (eps - x) * (t / t.clamp(min=0.1))[..., None, None, None]
            loss = F.mse_loss(velocity.double(), target.double())
        else:
            with torch.no_grad():
                real, fake = (
                    x_t - t[..., None, None, None] * self._score(one, clean, x_t, t, told)
                    for one in (self.teacher, self.critic)
                )
                scale = (x - real).double().abs().flatten(1).mean(1).view(-1, 1, 1, 1, 1)
                gradient = (fake - real).double() / scale
            wide = frames.double()
            loss = 0.5 * F.mse_loss(wide, (wide - gradient).detach())
        network, optimizer = (
            (self.critic, self.optimizers[1]) if critic else (self.student, self.optimizers[0])
        )
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if not critic:
            self.updates += 1
            weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
            with torch.no_grad():
                mine, theirs = list(self.average.parameters()), list(self.student.parameters())
                torch._foreach_lerp_(mine, theirs, weight)
        return loss.detach()

    def _score(
        self, network: Network, clean: Tensor, x_t: Tensor, t: Tensor, told: tuple[Tensor, Tensor]
    ) -> Tensor:
        """The velocity of every block over the clean ones before it, in one forward."""
        rows = torch.cat((clean, x_t), 1)
        times = torch.cat((t.new_zeros(len(t), self.frames), t), 1)
        velocity = network(rows, times, told, self._rows, mask=self._scoring)[0]
        return velocity[:, self.frames :]

    def _roll(
        self,
        given: Tensor,
        told: tuple[Tensor, Tensor],
        exit_step: int,
        noise: Noise,
        gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        """Past and window."""
        begin, made = given.shape[1], [given]
        n = begin * self._tokens
        with torch.no_grad():
            still = given.new_zeros(given.shape[:2])
            mask = self._causal[:n, :n]
            cache = self.student(given, still, told, slice(0, begin), None, mask)[1]
        for start in range(begin, self.frames, self.block):
            scored, at = start >= self.frames - self.window, slice(start, start + self.block)
            last = exit_step if scored else len(self.times) - 1
            x = noise(start, 0)
            for step in range(last + 1):
                t = x.new_full(x.shape[:2], self.times[step])
                with torch.set_grad_enabled(gradient and scored and step == last):
                    velocity, _ = self.student(x, t, told, at, cache)
                    x0 = x - t[..., None, None, None] * velocity
                if step < last:
                    x = (1 - self.times[step + 1]) * x0 + self.times[step + 1] * noise(
                        start, step + 1
                    )
            made.append(x0)
            if at.stop < self.frames:
                with torch.no_grad():
                    new = self.student(x0.detach(), torch.zeros_like(t), told, at, cache)[1]
                    cache = [
                        (torch.cat((a, c), 1), torch.cat((b, d), 1))
                        for (a, b), (c, d) in zip(cache, new, strict=True)
                    ]
        whole = torch.cat(made, 1)
        return whole[:, : -self.window].detach(), whole[:, -self.window :]


def _turned(x: Tensor, by: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * by).flatten(-2)
