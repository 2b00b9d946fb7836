"""Classifier-free guidance: one UNet, asked twice, turned into the `predict_eps` samplers call.

The model's answer with the prompt minus its answer without says which way the prompt pulls;
guidance walks further along. Notebook 05 builds this module.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def guided(
    unet: Callable[[Tensor, Tensor, Tensor], Tensor],
    context: Tensor,
    negative: Tensor | None = None,
    scale: float = 7.5,
) -> Callable[[Tensor, Tensor], Tensor]:
    """eps = uncond + scale * (cond - uncond), both halves in one UNet call.

    unet(x [B, 4, h, w], t, context [B, 77, D]) -> eps; context: the prompt [B, 77, D];
    negative: the empty or negative prompt [B or 1, 77, D]. -> predict_eps(x, t) for `sample`.
    scale 1 is off: only the prompt is computed. 0 ignores the prompt, above 1 exaggerates it.
    ValueError for a scale that is no number and for a missing or misshapen negative.
    Ho & Salimans 2022 (arXiv 2207.12598), eq. 6; the paper's w is scale - 1.
    """
    if not math.isfinite(scale):
        raise ValueError(f"guidance_scale = {scale}: choose a finite number; 1 means off.")
    if scale == 1:
        return lambda x, t: unet(x, t, context)
    shape = None if negative is None else tuple(negative.shape)
    if shape not in (tuple(context.shape), (1, *context.shape[1:])):
        raise ValueError(
            f"Guidance at scale {scale} compares the prompt {tuple(context.shape)} with a negative "
            f'one; got {shape}. Encode a negative prompt ("" will do) with the same text encoder, '
            "one in all or one for each prompt, or choose scale 1."
        )
    both = torch.cat([negative.expand_as(context), context])  # [2B, 77, D]

    def predict_eps(x: Tensor, t: Tensor) -> Tensor:
        t_both = torch.cat([t, t]) if t.dim() else t
        uncond, cond = unet(torch.cat([x, x]), t_both, both).chunk(2)
        return uncond + scale * (cond - uncond)

    return predict_eps
