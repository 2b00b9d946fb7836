"""The variational autoencoder: pictures to latents and back, so that diffusion works on 1/48.

128 x 128 x 3 numbers become 16 x 16 x 4 (Rombach et al. 2022, section 3.1). The latents are
multiplied by `scaling_factor` = 1 / (their standard deviation), because the noise of the diffusion
process has standard deviation 1 and the two must be of one size. SD 1.x's famous 0.18215 is just
that number. It is applied here, in `encode` and `decode`, and nowhere else.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention, over_pixels
from .blocks import Downsample, ResBlock, Upsample

EPS = 1e-6  # of every group norm in the VAE; the UNet's ResBlocks use 1e-5


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Shape of the network; the defaults are those of Stable Diffusion 1.x."""

    sample_size: int = 512
    latent_channels: int = 4
    channels: tuple[int, ...] = (128, 256, 512, 512)  # one per level, full size first
    blocks_per_level: int = 2
    groups: int = 32
    scaling_factor: float = 0.18215

    @property
    def factor(self) -> int:
        """Pixels per latent cell along one side: 8 for four levels."""
        return 2 ** (len(self.channels) - 1)


class AttentionBlock(nn.Module):
    """Every pixel of the smallest map looks at every other, with a single head: [B, C, H, W]."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, EPS)
        self.attention = Attention(channels, heads=1, qkv_bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + over_pixels(self.attention, self.norm(x))


def middle(channels: int, groups: int) -> nn.Sequential:
    """The part between the way down and the way up: [B, channels, h, w] -> same shape."""
    return nn.Sequential(
        ResBlock(channels, channels, groups=groups, eps=EPS),
        AttentionBlock(channels, groups),
        ResBlock(channels, channels, groups=groups, eps=EPS),
    )


def level(channels_in: int, channels: int, blocks: int, groups: int) -> list[nn.Module]:
    """ResBlocks of one level; the first changes the number of channels."""
    widths = [channels_in] + [channels] * blocks
    return [ResBlock(a, b, groups=groups, eps=EPS) for a, b in pairwise(widths)]


class Encoder(nn.Module):
    """Images [B, 3, H, W] -> raw moments [B, 8, H/8, W/8]: four means, four log-variances."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        channels, groups = config.channels, config.groups
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        self.levels = nn.ModuleList()
        for i, (before, width) in enumerate(zip(channels[:1] + channels, channels)):
            layers = level(before, width, config.blocks_per_level, groups)
            if i < len(channels) - 1:
                layers.append(Downsample(width, pad_right_bottom=True))
            self.levels.append(nn.Sequential(*layers))
        self.middle = middle(channels[-1], groups)
        self.norm_out = nn.GroupNorm(groups, channels[-1], EPS)
        self.conv_out = nn.Conv2d(channels[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for layers in self.levels:
            x = layers(x)
        return self.conv_out(F.silu(self.norm_out(self.middle(x))))


class Decoder(nn.Module):
    """Unscaled latents [B, 4, h, w] -> images [B, 3, 8h, 8w], in about [-1, 1]."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        channels, groups = config.channels[::-1], config.groups
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)
        self.middle = middle(channels[0], groups)
        self.levels = nn.ModuleList()
        for i, (before, width) in enumerate(zip(channels[:1] + channels, channels)):
            layers = level(before, width, config.blocks_per_level + 1, groups)
            if i < len(channels) - 1:
                layers.append(Upsample(width))
            self.levels.append(nn.Sequential(*layers))
        self.norm_out = nn.GroupNorm(groups, channels[-1], EPS)
        self.conv_out = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.middle(self.conv_in(z))
        for layers in self.levels:
            x = layers(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class VAE(nn.Module):
    """A KL autoencoder (Kingma & Welling 2014): a picture becomes a small Gaussian cloud.

    `encode` and `decode` speak *scaled* latents (standard deviation about 1, what the UNet sees);
    `moments` gives the raw mean and log-variance that training needs.
    """

    def __init__(self, config: VAEConfig = VAEConfig()):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant = nn.Conv2d(2 * config.latent_channels, 2 * config.latent_channels, 1)
        self.post_quant = nn.Conv2d(config.latent_channels, config.latent_channels, 1)

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] in [-1, 1] -> mean and log-variance, each [B, 4, H/8, W/8], unscaled.

        Raises ValueError if height or width is not a multiple of the factor (8).
        """
        factor = self.config.factor
        if images.dim() != 4 or any(side % factor for side in images.shape[-2:]):
            raise ValueError(
                f"images have shape {list(images.shape)}; expected [batch, 3, height, width] with "
                f"both sides multiples of {factor}, since one latent cell covers {factor}x{factor} "
                "pixels. Crop or resize the picture."
            )
        mean, logvar = self.quant(self.encoder(images)).chunk(2, dim=1)
        return mean, logvar.clamp(-30, 20)

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images in [-1, 1] -> scaled latents: the mean, or a sample where a generator is given."""
        mean, logvar = self.moments(images)
        if generator is not None:
            noise = torch.randn(mean.shape, generator=generator).to(mean)
            mean = mean + (logvar / 2).exp() * noise  # the reparameterisation trick, their eq. 10
        return mean * self.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents [B, 4, h, w] -> images [B, 3, 8h, 8w] in about [-1, 1]."""
        return self.decoder(self.post_quant(latents / self.config.scaling_factor))
