"""The UNet: given noisy latents, how noisy they are, and a text, it names the noise.

On the way down the picture gets smaller and deeper, on the way up it is put together again, and
every step up also receives what its mirror image saw on the way down (Ronneberger et al. 2015).
Convolutions look at the neighbourhood, self-attention at the whole picture, and cross-attention at
the words (Rombach et al. 2022, section 3.3). The structure is that of Stable Diffusion 1.x.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention, over_pixels
from .blocks import Downsample, ResBlock, TimeEmbedding, Upsample


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Shape of the network; the defaults are those of Stable Diffusion 1.x."""

    sample_size: int = 64  # of the latents it was trained on
    latent_channels: int = 4
    channels: tuple[int, ...] = (320, 640, 1280, 1280)  # one per level, full size first
    attention: tuple[bool, ...] = (True, True, True, False)
    heads: tuple[int, ...] = (8, 8, 8, 8)
    blocks_per_level: int = 2
    context_width: int = 768
    groups: int = 32


class GEGLU(nn.Module):
    """Feed-forward layer whose one half gates the other (Shazeer 2020): [.., width] -> same."""

    def __init__(self, width: int):
        super().__init__()
        self.project = nn.Linear(width, 8 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.project(x).chunk(2, dim=-1)
        return self.out(value * F.gelu(gate))


class TransformerBlock(nn.Module):
    """Pixels look at pixels, then at words, then think: x [B, H*W, width] -> same shape."""

    def __init__(self, width: int, context_width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads=heads)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attention = Attention(width, context_width, heads=heads)
        self.norm3 = nn.LayerNorm(width)
        self.feed_forward = GEGLU(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.self_attention(self.norm1(x))
        x = x + self.cross_attention(self.norm2(x), context)
        return x + self.feed_forward(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A transformer block between two 1x1 convolutions, added to x [B, C, H, W].

    Its group norm uses eps 1e-6 where the ResBlocks beside it use 1e-5.
    """

    def __init__(self, channels: int, context_width: int, heads: int, groups: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.block = TransformerBlock(channels, context_width, heads)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        h = self.proj_in(self.norm(x))
        h = over_pixels(lambda pixels: self.block(pixels, context), h)
        return x + self.proj_out(h)


class UNetStep(nn.Module):
    """One row of the UNet's table: a ResBlock, a transformer, a change of size; each optional."""

    def __init__(self, res=None, transformer=None, resample=None):
        super().__init__()
        self.res, self.transformer, self.resample = res, transformer, resample

    def forward(self, x: Tensor, time: Tensor, context: Tensor, size=()) -> Tensor:
        if self.res is not None:
            x = self.res(x, time)
        if self.transformer is not None:
            x = self.transformer(x, context)
        if self.resample is not None:
            x = self.resample(x, *size)
        return x


class UNet(nn.Module):
    """Noisy latents x [B, 4, h, w], timesteps t (int, [B] or scalar), context [B, 77, D] -> noise.

    The output has the shape of x: the noise that the network believes was added (Ho et al. 2020,
    eq. 14), or v where it was trained to predict that (`Schedule.prediction_type`). In SD 1.x there
    are 12 steps down, 2 in the middle and 12 up.
    """

    def __init__(self, config: UNetConfig = UNetConfig()):
        super().__init__()
        self.config = config
        first, last = config.channels[0], config.channels[-1]
        self.time = TimeEmbedding(first)
        conv_in = nn.Conv2d(config.latent_channels, first, 3, padding=1)
        self.down = nn.ModuleList([UNetStep(resample=conv_in)])
        skips = [first]  # channels of every output of the way down

        for level, channels in enumerate(config.channels):
            for _ in range(config.blocks_per_level):
                self.down.append(self._step(level, skips[-1], attend=config.attention[level]))
                skips.append(channels)
            if level < len(config.channels) - 1:
                self.down.append(UNetStep(resample=Downsample(channels)))
                skips.append(channels)

        deepest = len(config.channels) - 1
        self.middle = nn.ModuleList(
            [self._step(deepest, last, attend=True), self._step(deepest, last, attend=False)]
        )

        self.up, channels = nn.ModuleList(), last
        for level in reversed(range(len(config.channels))):
            for block in range(config.blocks_per_level + 1):
                step = self._step(level, channels + skips.pop(), attend=config.attention[level])
                channels = config.channels[level]
                if level > 0 and block == config.blocks_per_level:
                    step.resample = Upsample(channels)
                self.up.append(step)

        self.norm_out = nn.GroupNorm(config.groups, first, eps=1e-5)
        self.conv_out = nn.Conv2d(first, config.latent_channels, 3, padding=1)

    def _step(self, level: int, channels_in: int, attend: bool) -> UNetStep:
        c, channels = self.config, self.config.channels[level]
        res = ResBlock(channels_in, channels, time_width=4 * c.channels[0], groups=c.groups)
        if not attend:
            return UNetStep(res)
        return UNetStep(
            res, SpatialTransformer(channels, c.context_width, c.heads[level], c.groups)
        )

    def forward(self, x: Tensor, t: Tensor | int, context: Tensor) -> Tensor:
        time = self.time(torch.as_tensor(t, device=x.device).expand(len(x)))
        skips = []
        for step in self.down:
            x = step(x, time, context)
            skips.append(x)
        for step in self.middle:
            x = step(x, time, context)
        for step in self.up:
            x = torch.cat([x, skips.pop()], dim=1)
            x = step(x, time, context, size=[s.shape[-2:] for s in skips[-1:]])
        return self.conv_out(F.silu(self.norm_out(x)))
