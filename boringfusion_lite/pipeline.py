"""Stable Diffusion: four networks' worth of parts in one dataclass, and the way through them.

prompt -> ids -> context -> (noise -> less noise -> ... -> latents) -> picture. Every arrow is a
method or a module you can call alone; `sample` and `__call__` only string them together.
"""

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral

import torch
from PIL import Image
from torch import Tensor

from .clip import TextEncoder
from .guidance import guided
from .image_to_image import Picture, own_size, plan, to_images
from .remembering import remembering
from .runtime import generator
from .samplers import Frame, sample
from .schedule import Schedule
from .tokenizer import Tokenizer
from .unet import UNet
from .vae import VAE

Prompt = str | list[str] | Tensor  # words, or vectors [B, 77, D] that words were turned into


@dataclass
class StableDiffusion:
    """The parts of a latent diffusion model; `bf.load()` puts them together from files."""

    tokenizer: Tokenizer
    text_encoder: TextEncoder
    unet: UNet
    vae: VAE
    schedule: Schedule
    remember: bool = True  # compute once a picture what all its steps share, see remembering.py

    @property
    def device(self) -> torch.device:
        return self.unet.conv_out.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.conv_out.weight.dtype

    @property
    def image_size(self) -> int:
        """Height and width in pixels that the model was trained on."""
        return self.unet.config.sample_size * self.vae.config.factor

    def save(self, path, **options) -> None:
        """Write the model to a folder, or to one .safetensors file; options as in `saving.save`."""
        from . import save  # saving builds on this module

        save(self, path, **options)

    def compile(self, **options) -> "StableDiffusion":
        """The same model through torch.compile; see `compilation.compiled` for what that brings."""
        from . import compiled  # compilation builds on this module

        return compiled(self, **options)

    # ---- text ----------------------------------------------------------------------------------

    def tokenize(self, prompt: str | list[str]) -> Tensor:
        """A prompt or a list of B prompts -> ids [B, 77] on the model's device."""
        return self.tokenizer(prompt).to(self.device)

    @torch.no_grad()
    def encode(self, prompt: Prompt) -> Tensor:
        """A prompt or a list of B prompts -> context [B, 77, D]; a context stays as it is."""
        if isinstance(prompt, Tensor):
            return prompt
        return finite(self.text_encoder(self.tokenize(prompt)), "text encoder")

    @cached_property
    def known_tokens(self) -> Tensor:
        """Which of the 49,408 tokens have a vector: bool. All of them in SD 1.x."""
        return self.text_encoder.token_embedding.weight.detach().any(dim=1).cpu()

    def unknown_words(self, prompt: str) -> list[str]:
        """Words that the model never met in training, so that they do nothing in a prompt."""
        return [
            word
            for word, ids in self.tokenizer.words(prompt)
            if word.isalnum() and not self.known_tokens[ids].all()
        ]

    def warn_about(self, prompt: str) -> None:
        """Warn of what in the prompt the model will not see: unknown words, a cut tail."""
        if unknown := self.unknown_words(prompt):
            words = ", ".join(dict.fromkeys(unknown))
            warnings.warn(f"the model does not know these words: {words}", stacklevel=3)
        if tail := self.tokenizer.cut_tail(prompt):
            shown = tail if len(tail) <= 60 else tail[:57] + "..."
            warnings.warn(
                f"the prompt is longer than 75 tokens; the model does not see: {shown!r}",
                stacklevel=3,
            )

    # ---- pictures ------------------------------------------------------------------------------

    def noise(
        self, seed: int | list[int] = 0, height: int | None = None, width: int | None = None
    ) -> Tensor:
        """The latents to start from [B, 4, height/8, width/8], one picture a seed.

        Drawn in float32 on the CPU and then moved, so that a seed means the same on every device.
        ValueError for sizes in pixels that are not multiples of 8.
        """
        seeds = [seed] if isinstance(seed, Integral) else seed
        return self._noise([generator(s) for s in seeds], height, width)

    def _noise(self, generators: list, height: int | None, width: int | None) -> Tensor:
        height, width = self._size(height, width)
        factor = self.vae.config.factor
        shape = (1, self.unet.config.latent_channels, height // factor, width // factor)
        drawn = [torch.randn(shape, generator=g, dtype=torch.float32) for g in generators]
        return torch.cat(drawn).to(self.device, self.dtype)

    def _size(self, height: int | None, width: int | None, picture=None) -> tuple[int, int]:
        own = own_size(picture) or (self.image_size, self.image_size)
        height, width = own[0] if height is None else height, own[1] if width is None else width
        factor = self.vae.config.factor
        if height % factor or width % factor or min(height, width) < factor:
            raise ValueError(
                f"a picture of {width}x{height} pixels does not divide into latent cells of "
                f"{factor}x{factor}; use positive multiples of {factor}, such as {self.image_size}."
            )
        return height, width

    def sample(
        self,
        prompt: Prompt,
        *,
        negative_prompt: str | Tensor = "",
        steps: int = 20,
        guidance_scale: float | list[float] = 7.5,
        guidance_rescale: float = 0.0,
        guidance_interval: tuple[float, float] | None = None,
        sampler: str = "ddim",
        seed: int | list[int] = 0,
        eta: float = 0.0,
        spacing: str = "",
        height: int | None = None,
        width: int | None = None,
        noise: Tensor | None = None,
        init_image: Picture | None = None,
        strength: float | None = None,
        mask=None,
    ) -> Iterator[Frame]:
        """Denoise from noise to clean latents, one `Frame` a step (see samplers.py).

        For a list of prompts give one seed each, or a single one that counts up from there. Each
        picture is then the one that it would be alone, up to rounding. For the guidance_ options,
        among them a scale for each picture, see `guided`; spacing: that of `samplers.sample`.
        noise: to start from [B, 4, h, w], instead of that of the seeds; the size is then its own.
        init_image: a picture to start from, one for all or one for each prompt; see `encode_image`.
        strength: in [0, 1], how much of the way is run: 0.25 x 20 -> the last 5 steps, as
        `image_to_image.steps_run` counts; 0.8 unless given, and 1 with a mask. Where no step is
        left there is a single frame, number 0, of the picture's own latents.
        mask: white where to repaint, see `image_to_image.to_mask`. The other latents end as those
        of init_image: what the picture shows there is its VAE round trip.
        ValueError, before any work, for what does not fit together.
        """
        count = len(prompt if isinstance(prompt, Tensor) else self.tokenizer(prompt))
        seeds = [seed + i for i in range(count)] if isinstance(seed, Integral) else seed
        if not count or len(seeds) != count:
            raise ValueError(
                f"{count} prompts and {len(seeds)} seeds: give at least one prompt, and one "
                "seed for each."
            )
        generators = [generator(s) for s in seeds]  # they draw x, and later noise after it
        if noise is None:
            noise = self._noise(generators, *self._size(height, width, init_image))
        elif noise.dim() != 4 or noise.shape[:2] != (count, self.unet.config.latent_channels):
            raise ValueError(
                f"noise {list(noise.shape)} for {count} prompts: give latents "
                f"[{count}, {self.unet.config.latent_channels}, h, w], as `sd.noise` draws them."
            )
        x, timesteps = noise.to(self.device, self.dtype), self.schedule.timesteps(steps, spacing)
        way = {"timesteps": timesteps}
        if any(given is not None for given in (init_image, strength, mask)):
            factor = self.vae.config.factor
            planned = plan(x, self.schedule, timesteps, init_image, strength, mask, factor)
            x, way = planned.begin(self.encode_image(planned.images))
        negative = self.encode(negative_prompt) if guidance_scale != 1 else None
        relatives = guidance_scale, guidance_rescale, guidance_interval
        unet = remembering(self.unet, way["timesteps"]) if self.remember else self.unet
        answer = guided(unet, self.encode(prompt), negative, *relatives)

        def predict_eps(x: Tensor, t: Tensor) -> Tensor:
            return self.schedule.to_eps(answer(x, t), x, t)

        frames = sample(predict_eps, x, self.schedule, sampler, steps, eta, generators, **way)
        if not len(way["timesteps"]):
            return iter([Frame(0, 0, x, x, torch.zeros_like(x))])
        return frames

    @torch.no_grad()
    def encode_image(
        self, picture: Picture, height: int | None = None, width: int | None = None
    ) -> Tensor:
        """Pictures -> scaled latents [B, 4, h, w], the mean of the VAE's cloud; undoes `decode`.

        picture: a PIL image or a list of them, of any mode and size: made RGB and stretched to
        height x width, by default the model's; or a tensor [B, 3, H, W] in [-1, 1], of its own
        size. ValueError for sizes that are no multiples of 8, TypeError for what is no picture.
        """
        images = to_images(picture, *self._size(height, width, picture))
        images = images.to(self.device, self.dtype)
        return finite(self.vae.encode(images), "VAE encoder")

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Scaled latents [B, 4, h, w] -> B pictures; in float32 where float16 overflows."""
        images = self.vae.decode(latents)
        if images.dtype == torch.float16 and not images.isfinite().all():  # beyond 65,504
            images = copy.deepcopy(self.vae).float().decode(latents.float())
        return to_pil(finite(images, "VAE decoder"))

    def __call__(self, prompt: str | Tensor, **options) -> Image.Image:
        """One picture of the prompt; options as in `sample`. Warns of words it does not know."""
        if isinstance(prompt, str):
            self.warn_about(prompt)
        *_, last = self.sample(prompt, **options)
        return self.decode(last.x)[0]


def finite(x: Tensor, stage: str) -> Tensor:
    """x itself; FloatingPointError, naming the stage, where it holds NaN or infinity."""
    if not x.isfinite().all():
        raise FloatingPointError(
            f"the {stage} returned NaN or infinity. Half precision may have overflowed: load the "
            "model with dtype=torch.float32; if that does not help, its weights are damaged."
        )
    return x


def to_pil(images: Tensor) -> list[Image.Image]:
    """Images [B, 3, H, W] in [-1, 1] -> PIL pictures; what lies outside is clipped."""
    pixels = ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(p.permute(1, 2, 0).cpu().numpy()) for p in pixels]
