"""A walk between two pictures: arcs for noise, straight lines for the vectors of prompts.

Noise lies near a sphere, since every draw of so many numbers has nearly the same length. A straight
line cuts through the sphere, and the model has never seen latents that lie inside it; an arc stays
where noise is. Vectors of prompts have no such sphere. Notebook 07 builds `slerp`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from .samplers import Frame


def lerp(one: Tensor, other: Tensor, share: float) -> Tensor:
    """The straight line: (1 - share) * one + share * other; both ends are exact."""
    _check(one, other)
    return torch.lerp(one, other, share)


def slerp(one: Tensor, other: Tensor, share: float) -> Tensor:
    """The arc from one to the other, each picture of the batch [B, ...] on its own; exact ends.

    Between two points of one length, all have that length. share: 0 to 1, or beyond. Shoemake 1985,
    "Animating rotation with quaternion curves". Where the two are almost parallel it is the
    straight line; ValueError where they are opposite, since then no way is the shortest.
    """
    _check(one, other)
    flat = [x.flatten(1).float() for x in (one, other)]
    cosine = torch.cosine_similarity(*flat, dim=1).clamp(-1, 1)
    if (cosine < -0.9999).any():
        raise ValueError("The two point in opposite directions: which way round is left open.")
    angle = cosine.arccos()
    straight = angle < 1e-3
    sine = torch.where(straight, 1, angle.sin())
    first = torch.where(straight, 1 - share, ((1 - share) * angle).sin() / sine)
    second = torch.where(straight, share, (share * angle).sin() / sine)
    arc = first[:, None] * flat[0] + second[:, None] * flat[1]
    return arc.reshape(one.shape).to(one.dtype)


def walk(
    sd, pictures: int, prompts: tuple[str, str], seeds: tuple[int, int] = (0, 0), **options
) -> Iterator[Frame]:
    """Denoise `pictures` pictures on the way from one prompt and seed to another, all in one batch.

    Contexts go along a line, noise along an arc; where both seeds or prompts are the same, only the
    other changes. The last frame's x holds [pictures, 4, h, w]. options: those of `sd.sample`,
    without noise. ValueError for less than two pictures.
    """
    if pictures < 2:
        raise ValueError(f"A walk of {pictures} pictures: it takes two, a beginning and an end.")
    one, other = sd.encode(list(prompts)).split(1)
    size = {key: options.pop(key) for key in ("height", "width") if key in options}
    start, end = (sd.noise(seed, **size) for seed in seeds)
    shares = [number / (pictures - 1) for number in range(pictures)]
    context = torch.cat([lerp(one, other, share) for share in shares])
    noise = torch.cat([slerp(start, end, share) for share in shares])
    return sd.sample(context, noise=noise, seed=[seeds[0]] * pictures, **options)


def _check(one: Tensor, other: Tensor) -> None:
    if one.shape != other.shape:
        raise ValueError(f"No way leads from {list(one.shape)} to {list(other.shape)}: one shape.")
