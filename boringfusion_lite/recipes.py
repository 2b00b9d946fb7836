"""What the three networks of Tiny SD are trained on, and the loss of each.

Each loss draws the whole batch, all random numbers included, from the step's number alone, and then
keeps its share of it (see `processes.py`): the networks, which cost the time, see only that.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from .clip import (
    CLIP,
    CLIPConfig,
    ImageConfig,
    TextConfig,
    TextEncoder,
    contrastive_loss,
    first_end,
)
from .dataset import Pictures, shuffled
from .objectives import eps_of, offset_noise, weighting
from .processes import WHOLE, Share
from .schedule import Schedule
from .tokenizer import Tokenizer
from .unet import UNet, UNetConfig
from .vae import VAE, VAEConfig

TINY_TEXT = TextConfig(width=128, layers=4, heads=4)
TINY_CLIP = CLIPConfig(
    text=TINY_TEXT,
    image=ImageConfig(image_size=128, patch=16, width=128, layers=4, heads=4),
    joint_width=128,
)
TINY_VAE = VAEConfig(sample_size=128, channels=(32, 64, 96, 96), blocks_per_level=1, groups=8)
TINY_UNET = UNetConfig(
    sample_size=16,
    channels=(64, 128, 192),
    attention=(True, True, False),
    heads=(2, 4, 6),
    blocks_per_level=1,
    context_width=128,
    groups=16,
)


def generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step, the same whether or not the run was interrupted before."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


@contextmanager
def mixed_precision(device: torch.device) -> Iterator[None]:
    """bfloat16 for the heavy arithmetic, float32 weights and losses.

    On a CPU also with the plain attention kernel: its backward pass is several times faster there
    than that of the fused one.
    """
    attention = sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16), attention:
        yield


def crop_around_things(images: Tensor, mask: Tensor, size: int, g: torch.Generator):
    """One square per picture, centred near a pixel that belongs to a thing: [B, C, size, size]."""
    full, out = images.shape[-1], []
    for image, inside in zip(images, mask):
        pixels = inside[0].nonzero()
        centre = pixels[torch.randint(len(pixels), (), generator=g)]
        jitter = torch.randint(-size // 3, size // 3 + 1, (2,), generator=g)
        top, left = (centre + jitter - size // 2).clamp(0, full - size).tolist()
        out.append(torch.cat([image, inside])[:, top : top + size, left : left + size])
    squares = torch.stack(out)
    return squares[:, :3], squares[:, 3:]


@dataclass
class VAELoss:
    """Reconstruction (L1 + L2) and a small pull towards the unit Gaussian (KL).

    Drawn things count five times as much as what surrounds them, later three times. For the first
    60 % of the run the pictures are 64-pixel squares, which cost a quarter and teach nearly as
    much: the network is convolutional.

    extra: from images, output, the reconstruction loss and the progress, what else is to be small.
    """

    vae: VAE
    pictures: Pictures
    device: torch.device
    batch: int = 8  # whole pictures, or three times as many squares
    kl_weight: float = 1e-6
    l1: float = 1.0  # weights of the mean absolute and the mean squared error
    l2: float = 1.0
    crops_until: float = 0.6
    extra: Callable[[Tensor, Tensor, Tensor, float], Tensor] | None = None
    seed: int = 0

    def __call__(self, step: int, progress: float, share: Share = WHOLE) -> tuple[Tensor, int]:
        crops, g = progress < self.crops_until, generator(self.seed, step)
        batch = 3 * self.batch if crops else self.batch
        indices = shuffled(len(self.pictures), batch, step, self.seed)
        images, mask = self.pictures.images(indices), self.pictures.thing_mask(indices)
        if crops:
            images, mask = crop_around_things(images, mask, 64, g)
        side, channels = images.shape[-1] // self.vae.config.factor, self.vae.config.latent_channels
        noise = torch.randn((batch, channels, side, side), generator=g)
        weight = 1 + (4 if crops else 2) * mask
        mean_weight = weight.mean()
        images, noise, weight = (share(x).to(self.device) for x in (images, noise, weight))
        with mixed_precision(self.device):
            mean, logvar = self.vae.moments(images)
            z = mean + (logvar / 2).exp() * noise
            output = self.vae.decoder(self.vae.post_quant(z)).float()
        error = output - images
        error = self.l1 * error.abs() + self.l2 * error.square()
        reconstruction = (weight * error).mean() / mean_weight
        mean, logvar = mean.float(), logvar.float()
        kl = (mean.square() + logvar.exp() - 1 - logvar).mean() / 2  # Kingma & Welling, app. B
        loss = reconstruction + self.kl_weight * kl
        if self.extra is not None:
            with mixed_precision(self.device):
                loss = loss + self.extra(images, output, reconstruction, progress)
        return loss, batch


def cropped(ids: Tensor) -> Tensor:
    """Cut the padding after the last first end token: the mask is causal, nothing else changes."""
    return ids[:, : int(first_end(ids).max()) + 1]


@dataclass
class CLIPLoss:
    """Pictures find their captions among those of the batch and among nearly right ones.

    Each process embeds its share; the loss itself is that of the whole batch in every process.
    """

    clip: CLIP
    pictures: Pictures
    tokenizer: Tokenizer
    device: torch.device
    batch: int = 256
    seed: int = 0

    def __call__(self, step: int, progress: float, share: Share = WHOLE) -> tuple[Tensor, int]:
        indices = shuffled(len(self.pictures), self.batch, step, self.seed)
        wrong = share(self.pictures.near_captions(indices, step))
        captions = self.pictures.captions(share(indices), step)
        ids = cropped(self.tokenizer(captions + wrong)).to(self.device)
        images = self.pictures.images(share(indices)).to(self.device)
        with mixed_precision(self.device):
            texts = self.clip.embed_text(ids).float()
            pictures = self.clip.embed_image(images).float()
        texts = torch.cat([share.gather(half) for half in texts.chunk(2)])
        logits = self.clip.similarity(share.gather(pictures), texts)  #  [B, 2B]
        true, near = logits.split(self.batch, dim=1)
        hard = torch.cat([true, near.diagonal()[:, None]], dim=1)
        target = torch.arange(self.batch, device=self.device)
        loss = contrastive_loss(true) + F.cross_entropy(hard, target)
        self.clip.logit_scale.data.clamp_(max=math.log(100))
        return loss / 2, self.batch


@torch.no_grad()
def encode_all(vae: VAE, pictures: Pictures, device: torch.device, cache: Path) -> Tensor:
    """The scaled latents of every picture, float16 [N, 4, h, w]: encoded once, kept in `cache`."""
    if cache.exists():
        return torch.load(cache, weights_only=True)
    batches = np.array_split(np.arange(len(pictures)), math.ceil(len(pictures) / 64))
    vae, encoded = vae.to(memory_format=torch.channels_last), []
    for batch in tqdm(batches, "latents"):
        with mixed_precision(device):
            encoded.append(vae.encode(pictures.images(batch).to(device)))
    latents = torch.cat(encoded).half().cpu()
    torch.save(latents, partial := cache.with_suffix(".partial"))
    partial.replace(cache)
    return latents


def spread_timesteps(n: int, total: int, g: torch.Generator) -> Tensor:
    """One random timestep out of each n-th of 0 .. total - 1, int64 [n]: every batch sees all."""
    t = (torch.arange(n) + torch.rand(n, generator=g)) * (total / n)
    return t.long().clamp(max=total - 1)  # n - 1 + 0.9999999 is n in float32


@dataclass
class UNetLoss:
    """Predict the noise in noisy latents from their caption; one caption in ten is left out.

    A plain mean over timesteps gives the noisy ones, which decide layout and colours, almost no
    say: `objectives.py` tells why these weights, and what else a network may be asked to predict.
    Cells in which a thing is drawn count four times as much as the others.

    For the first `simple_until` of the run the pictures hold one group of things: what a word looks
    like is learned sooner where nothing else could be meant.
    """

    unet: UNet
    text_encoder: TextEncoder
    latents: Tensor
    pictures: Pictures
    tokenizer: Tokenizer
    schedule: Schedule
    device: torch.device
    batch: int = 32
    train_text: bool = True
    simple_until: float = 0.4
    predict: str = "epsilon"
    weights: str = "clipped_v"
    offset: float = 0.0  # strength of offset noise
    drop: float = 0.1  # share of the captions that is left out
    seed: int = 0

    def __post_init__(self):
        self.simple, self.all = self.pictures.simple(), np.arange(len(self.pictures))

    def __call__(self, step: int, progress: float, share: Share = WHOLE) -> tuple[Tensor, int]:
        g, n, shape = generator(self.seed, step), self.batch, self.latents.shape[1:]
        usable = self.simple if progress < self.simple_until else self.all
        indices = usable[shuffled(len(usable), n, step, self.seed)]
        drop = torch.rand(n, generator=g) < self.drop
        noise = torch.randn((n, *shape), generator=g)
        t = spread_timesteps(n, self.schedule.num_train_timesteps, g)
        noise = offset_noise(noise, self.offset, g)
        inside = 1 + 3 * self.pictures.thing_mask(indices, shape[-1])
        inside = inside / inside.mean()
        indices, drop, noise, t, inside = map(share, (indices, drop, noise, t, inside))
        captions = self.pictures.captions(indices, step)
        captions = ["" if dropped else c for dropped, c in zip(drop, captions)]
        x = self.schedule.add_noise(self.latents[indices].float(), noise, t).to(self.device)
        ids = self.tokenizer(captions).to(self.device)
        with mixed_precision(self.device):
            with torch.set_grad_enabled(self.train_text):
                context = self.text_encoder(ids)
            answer = self.unet(x, t.to(self.device), context).float()
        eps = eps_of(self.predict, answer, x, t, self.schedule)
        weight = weighting(self.weights, self.schedule.alphas_cumprod)[t].to(self.device)
        error = (eps - noise.to(self.device)).square()
        error = (inside.to(self.device) * error).mean(dim=(1, 2, 3))
        return (weight * error).mean(), n
