"""The best possible denoiser of a small data set, in closed form: no network, nothing trained.

Were the data set these few points and nothing else, Bayes' rule would say how likely each of them
is to be inside a noisy x. Their average is what a perfectly trained network would answer, so
samplers and guidance can be watched here without any other error. Notebook 05 builds this module.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .schedule import Schedule


def ideal_eps(x: Tensor, points: Tensor, alpha_bar: float) -> Tensor:
    """The average noise in x, over all data points that may have been its beginning.

    x [B, ...] noisy; points [N, ...] clean, all equally likely; alpha_bar in [0, 1) -> eps like x.
    To become x, point p needs the noise n = (x - sqrt(alpha_bar) p) / sqrt(1 - alpha_bar). A normal
    distribution draws it with a density proportional to exp(-|n|^2 / 2), and these are the weights.
    The softmax forms their ratios, so with little noise none is lost to the limits of float32.
    Karras et al. 2022 (arXiv 2206.00364), appendix B.3.
    """
    wide = x.float() if x.dtype.itemsize < 4 else x
    noise = (wide[:, None] - alpha_bar**0.5 * points.to(wide)) / (1 - alpha_bar) ** 0.5
    weights = torch.softmax(-noise.flatten(2).square().sum(-1) / 2, dim=1)  # [B, N]
    return torch.einsum("bn,bn...->b...", weights, noise).to(x.dtype)


def ideal_denoiser(points: Tensor, schedule: Schedule) -> Callable[[Tensor, Tensor], Tensor]:
    """The exact `predict_eps(x, t)` of a data set, for `sample`.

    points [N, ...], N >= 1: points of the plane, latents, anything of one shape. t: a number
    or a tensor [], 0..T-1. The memory it takes is that of B * N points.
    ValueError for points that are none or not finite, another shape of x, a t out of range.
    """
    if points.dim() < 2 or not len(points) or not points.is_floating_point():
        raise ValueError(
            f"points {list(points.shape)} ({points.dtype}): give at least one point as a row of a "
            "floating-point tensor [N, ...]."
        )
    if not points.isfinite().all():
        raise ValueError("The points hold NaN or infinity; every coordinate must be a number.")
    shape = list(points.shape[1:])

    def predict_eps(x: Tensor, t: Tensor | float) -> Tensor:
        if list(x.shape[1:]) != shape:
            raise ValueError(
                f"x {list(x.shape)} and points {list(points.shape)} must agree in all but the "
                "first number: rows of one kind."
            )
        return ideal_eps(x, points, float(schedule.alpha_bar(t)))

    return predict_eps
