"""Classifier-free guidance: one UNet, asked twice, turned into the `predict_eps` samplers call.

The model's answer with the prompt minus its answer without says which way the prompt pulls;
guidance walks further along. Two relatives tame large scales: `rescale` brings the guided answer
back to its usual size, `interval` guides in a part of the run only. Notebook 05 builds this module.
"""

import math
from collections.abc import Callable, Sequence
from numbers import Real

import torch
from torch import Tensor


def guided(
    unet: Callable[[Tensor, Tensor, Tensor], Tensor],
    context: Tensor,
    negative: Tensor | None = None,
    scale: float | Sequence[float] = 7.5,
    rescale: float = 0.0,
    interval: tuple[float, float] | None = None,
) -> Callable[[Tensor, Tensor], Tensor]:
    """eps = uncond + scale * (cond - uncond), both halves in one UNet call.

    unet(x [B, 4, h, w], t, context [B, 77, D]) -> eps; context: the prompt [B, 77, D];
    negative: the empty or negative prompt [B or 1, 77, D]. -> predict_eps(x, t) for `sample`.
    scale 1 is off: only the prompt is computed. 0 ignores the prompt, above 1 exaggerates it. A
    list holds one for each picture.
    rescale: 0 (off) .. 1, see `rescaled`. interval: (low, high), the timesteps, both included, at
    which to guide; at all others the scale is 1, at half the work. Timesteps, since they mean the
    same for every sampler; `schedule.sigma[t]` is the sigma of one.
    ValueError for a scale that is no number, a missing or misshapen negative, a rescale outside
    0 .. 1 and an interval that is not a rising pair.
    Ho & Salimans 2022 (arXiv 2207.12598), eq. 6; the paper's w is scale - 1. Interval:
    Kynkaanniemi et al. 2024 (arXiv 2404.07724).
    """
    factor = _check_scale(scale, len(context))
    low, high = _check_relatives(rescale, interval)
    if factor is scale and scale == 1:
        return lambda x, t: unet(x, t, context)
    _check_negative(negative, context, scale)
    both = torch.cat([negative.expand_as(context), context])  # [2B, 77, D]

    def predict_eps(x: Tensor, t: Tensor) -> Tensor:
        inside = None if interval is None else (low <= t) & (t <= high)
        if inside is not None and not inside.any():
            return unet(x, t, context)
        t_both = torch.cat([t, t]) if t.dim() else t
        uncond, cond = unet(torch.cat([x, x]), t_both, both).chunk(2)
        strength = factor if factor is scale else factor.to(cond)
        eps = uncond + strength * (cond - uncond)
        eps = rescaled(eps, cond, rescale) if rescale else eps
        return eps if inside is None else torch.where(inside.reshape(-1, 1, 1, 1), eps, cond)

    return predict_eps


def rescaled(eps: Tensor, cond: Tensor, amount: float) -> Tensor:
    """Give guided noise the standard deviation of the unguided again, picture by picture.

    eps, cond: guided noise and that of the prompt alone [B, 4, h, w] -> the same shape.
    amount: 0 leaves eps as it is, 1 gives it the standard deviation of cond, between them a mix.
    Lin et al. 2023 (arXiv 2305.08891), section 3.4.
    """
    axes = tuple(range(1, eps.dim()))
    spread, wanted = eps.std(axes, keepdim=True), cond.std(axes, keepdim=True)
    return amount * eps * (wanted / spread) + (1 - amount) * eps


def _check_scale(scale: float | Sequence[float], batch: int) -> float | Tensor:
    """A number comes back as it is, several as a tensor [B, 1, 1, 1]."""
    several = isinstance(scale, list | tuple)
    for value in scale if several else [scale]:
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(f"guidance_scale = {value}: choose a finite number; 1 means off.")
    if not several:
        return scale
    if len(scale) != batch:
        raise ValueError(
            f"guidance_scale holds {len(scale)} numbers for {batch} pictures: give one for all, "
            "or one for each."
        )
    return torch.tensor(scale, dtype=torch.float32).reshape(-1, 1, 1, 1)


def _check_negative(
    negative: Tensor | None, context: Tensor, scale: float | Sequence[float]
) -> None:
    shape = None if negative is None else tuple(negative.shape)
    if shape not in (tuple(context.shape), (1, *context.shape[1:])):
        raise ValueError(
            f"Guidance at scale {scale} compares the prompt {tuple(context.shape)} with a negative "
            f'one; got {shape}. Encode a negative prompt ("" will do) with the same text encoder, '
            "one in all or one for each prompt, or choose scale 1."
        )


def _check_relatives(rescale: float, interval: tuple[float, float] | None) -> tuple[float, float]:
    if not 0 <= rescale <= 1:
        raise ValueError(
            f"guidance_rescale = {rescale}: choose from 0 (off) to 1 (back to the full)."
        )
    if interval is None:
        return 0.0, math.inf
    if len(interval) != 2 or not interval[0] <= interval[1]:
        raise ValueError(
            f"guidance_interval = {interval}: give two timesteps (low, high) with low <= high, "
            "such as (200, 800)."
        )
    return interval[0], interval[1]
