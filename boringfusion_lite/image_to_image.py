"""Beginning with a picture instead of pure noise: image-to-image and inpainting.

The picture's latents are noised to the level of a timestep on the way and denoised from there. With
a mask, what it protects is put back after every step, noised to the level that the rest has by
then. `StableDiffusion.sample` strings these parts together; notebook 07 shows what they do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .schedule import Schedule

Picture = Image.Image | Sequence[Image.Image] | Tensor
STRENGTH, STRENGTH_MASKED = 0.8, 1.0  # where none is given: without a mask, with one


def steps_run(steps: int, strength: float) -> int:
    """How many of the steps are run: strength 0.25 x 20 -> 5, rounded down as in diffusers.

    0 runs none, so that the picture only passes through the VAE; 1 runs them all. ValueError for a
    strength outside [0, 1].
    """
    if not 0 <= strength <= 1:
        raise ValueError(
            f"strength = {strength}: choose from 0 (the picture as it is) to 1 (all steps)."
        )
    return int(steps * strength)


def to_images(picture: Picture, height: int, width: int) -> Tensor:
    """Pictures -> images [B, 3, height, width] in [-1, 1]; a tensor must be that already.

    PIL pictures of any mode and size become RGB and are stretched to the size. TypeError for
    anything else, ValueError for a tensor of another shape or range.
    """
    if isinstance(picture, Tensor):
        return _checked(picture[None] if picture.dim() == 3 else picture, height, width)
    pictures = [picture] if isinstance(picture, Image.Image) else picture
    if not isinstance(pictures, Sequence) or not pictures or isinstance(pictures, str):
        raise TypeError(f"A picture is a PIL image or a tensor, not {type(picture).__name__}.")
    images = []
    for one in pictures:
        if not isinstance(one, Image.Image):
            raise TypeError(f"A list of pictures holds PIL images, not {type(one).__name__}.")
        one = one.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        images.append(torch.from_numpy(np.array(one)).permute(2, 0, 1))
    return torch.stack(images).float() / 127.5 - 1


def _checked(images: Tensor, height: int, width: int) -> Tensor:
    if images.dim() != 4 or images.shape[1:] != (3, height, width):
        raise ValueError(
            f"The picture is a tensor {list(images.shape)}; expected [batch, 3, {height}, {width}] "
            "or one without batch. Set height= and width=, or give a PIL image, which is resized."
        )
    if not images.is_floating_point() or not images.abs().max() <= 2:  # a decoder may exceed 1
        raise ValueError(
            f"The picture's values ({images.dtype}) go from {images.min():g} to {images.max():g}; "
            "images are floating-point numbers in [-1, 1]. Bytes b become b / 127.5 - 1."
        )
    return images


def to_mask(mask, height: int, width: int, cell: int) -> Tensor:
    """A mask, white where to repaint -> bool [1, 1, height/cell, width/cell], one a latent cell.

    mask: a PIL image, stretched to the size; or an array or tensor [height, width], bool, 0..1 or
    0..255. White is above the middle, and a single white pixel has its whole cell repainted.
    ValueError for an array of another shape.
    """
    if isinstance(mask, Image.Image):
        mask = mask.convert("L").resize((width, height), Image.Resampling.BOX)
        white = torch.from_numpy(np.array(mask)) > 127
    else:
        values = torch.as_tensor(mask).detach().cpu().squeeze()
        if values.shape != (height, width):
            raise ValueError(
                f"The mask is an array {list(values.shape)} for a picture of {height} rows and "
                f"{width} columns: give [{height}, {width}], or a PIL image, which is resized."
            )
        white = values > (127.5 if values.max() > 1 else 0.5)
    return F.max_pool2d(white[None, None].float(), cell).bool()


def own_size(picture) -> tuple[int, int] | None:
    """Height and width of a picture that may not be resized, which is a tensor; else None."""
    return picture.shape[-2:] if isinstance(picture, Tensor) and picture.dim() > 2 else None


@dataclass(frozen=True, eq=False)
class Plan:
    """A run that begins with a picture: checked, but nothing computed yet."""

    images: Tensor  # [1 or B, 3, H, W]
    noise: Tensor  # latents [B, 4, h, w]
    schedule: Schedule
    timesteps: Tensor  # those that are left, falling; maybe none
    repaint: Tensor | None  # bool [1, 1, h, w]
    from_noise: bool

    def begin(self, known: Tensor) -> tuple[Tensor, dict]:
        """The images' latents -> the latents to start from, and options for `samplers.sample`.

        Noised to the first timestep that is left: Meng et al. 2021, SDEdit (arXiv 2108.01073).
        """
        known, way = known.expand_as(self.noise), {"timesteps": self.timesteps}
        if self.repaint is not None:
            way["after_step"] = put_back(known, self.noise, self.repaint.to(known.device))
        if not len(self.timesteps):
            return known, way
        if self.from_noise:
            return self.noise, way
        return self.schedule.add_noise(known, self.noise, self.timesteps[0]), way


def plan(
    noise: Tensor,
    schedule: Schedule,
    timesteps: Tensor,
    picture,
    strength: float | None,
    mask,
    cell: int,
) -> Plan:
    """Put together what is asked for, or say why it does not fit. cell: pixels a latent cell.

    timesteps: those of the whole way, of which strength leaves the last.

    Without a mask, strength 1 still starts from a trace of the picture, since no timestep of SD's
    is noise alone; with one, it starts from the noise. So do the two pipelines of diffusers.
    """
    if picture is None:
        raise ValueError("strength and mask need a picture to start from: give init_image=.")
    if strength is None:
        strength = STRENGTH if mask is None else STRENGTH_MASKED
    timesteps = timesteps[len(timesteps) - steps_run(len(timesteps), strength) :]
    height, width = (cell * side for side in noise.shape[-2:])
    images = to_images(picture, height, width)
    if len(images) not in (1, len(noise)):
        raise ValueError(f"{len(images)} pictures for {len(noise)} prompts: give one for each.")
    repaint = None if mask is None else to_mask(mask, height, width, cell)
    return Plan(images, noise, schedule, timesteps, repaint, mask is not None and strength == 1)


def put_back(known: Tensor, noise: Tensor, repaint: Tensor) -> Callable[[Tensor, float], Tensor]:
    """What inpainting does between two steps: x -> x inside the mask, known latents outside.

    They are noised to x's own level, alpha_bar, each time with the same noise; at the end they are
    clean. Lugmayr et al. 2022, RePaint (arXiv 2201.09865), without its jumps back.
    """

    def after_step(x: Tensor, alpha_bar: float) -> Tensor:
        level = alpha_bar**0.5 * known + (1 - alpha_bar) ** 0.5 * noise
        return torch.where(repaint, x, level)

    return after_step


def edge_step(x: Tensor, repaint: Tensor) -> float:
    """How hard the mask's edge shows: mean step between neighbouring cells on its two sides.

    x: latents [B, 4, h, w]; repaint: bool [1, 1, h, w]. Not a number where there is no edge.
    """
    inside = repaint.expand_as(x).int()
    steps = [x.diff(dim=dim).abs()[inside.diff(dim=dim) != 0] for dim in (-1, -2)]
    return torch.cat(steps).float().mean().item()
