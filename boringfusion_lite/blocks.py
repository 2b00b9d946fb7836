"""The convolutional parts that UNet and VAE share, and the time embedding of the UNet."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResBlock(nn.Module):
    """Two normalised convolutions around a shortcut: x [B, in, H, W] -> [B, out, H, W].

    With `time_width`, a vector per picture (the time embedding) is added between the two, which is
    how every block of the UNet knows how noisy its input is (Ho et al. 2020, appendix B).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        time_width: int | None = None,
        groups: int = 32,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in, eps)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.time = nn.Linear(time_width, channels_out) if time_width else None
        self.norm2 = nn.GroupNorm(groups, channels_out, eps)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        if self.time is not None:
            h = h + self.time(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return self.shortcut(x) + h


class Downsample(nn.Module):
    """Halve height and width with a strided convolution.

    The UNet pads all four sides; the VAE's encoder pads right and bottom only. Confusing the two
    shifts every picture by half a pixel per level and raises no error.
    """

    def __init__(self, channels: int, *, pad_right_bottom: bool = False):
        super().__init__()
        self.pad_right_bottom = pad_right_bottom
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=0 if pad_right_bottom else 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.pad_right_bottom else x)


class Upsample(nn.Module):
    """Double height and width (or reach `size` exactly) by repeating pixels, then smooth."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        size = size or (2 * x.shape[-2], 2 * x.shape[-1])
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


def timestep_features(t: Tensor, width: int) -> Tensor:
    """t [B] -> [B, width]: cosines, then sines, of t at `width / 2` frequencies from 1 to 1/10000.

    Like the hands of many clocks: slow ones tell early from late, fast ones tell neighbours apart
    (Vaswani et al. 2017, section 3.5). Always float32, since t reaches 999.
    """
    exponents = torch.arange(width // 2, device=t.device) / (width // 2)
    frequencies = torch.exp(-math.log(10_000) * exponents)
    angles = t.float()[:, None] * frequencies  #                         [B, width / 2]
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimeEmbedding(nn.Module):
    """Timesteps [B] -> the vector [B, 4 * channels] that every ResBlock of the UNet receives."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.linear1 = nn.Linear(channels, 4 * channels)
        self.linear2 = nn.Linear(4 * channels, 4 * channels)

    def forward(self, t: Tensor) -> Tensor:
        features = timestep_features(t, self.channels).to(self.linear1.weight.dtype)
        return self.linear2(F.silu(self.linear1(features)))
