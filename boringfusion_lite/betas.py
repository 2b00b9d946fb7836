"""Noise per timestep: the five ways of choosing betas that `scheduler_config.json` can name.

beta is the share of the variance that a timestep replaces by noise; `schedule.py` makes of betas
all that the rest needs. Notebook 03.
"""

import torch
from torch import Tensor


def linear_betas(n: int, start: float, end: float) -> Tensor:
    """Noise added per timestep, growing evenly. -> float32 [n]. Ho et al. 2020, section 4."""
    return torch.linspace(start, end, n, dtype=torch.float32)


def scaled_linear_betas(n: int, start: float, end: float) -> Tensor:
    """Roots of beta growing evenly. -> float32 [n]. Stable Diffusion's code calls it "linear"!"""
    return torch.linspace(start**0.5, end**0.5, n, dtype=torch.float32) ** 2


def cosine_betas(n: int, start: float, end: float) -> Tensor:
    """alpha_bar falling like a squared cosine; start and end have no say. -> float32 [n].

    No beta is above 0.999, which keeps a trace of picture to the end. Nichol & Dhariwal 2021
    (arXiv 2102.09672), eq. 17.
    """
    time = torch.linspace(0, 1, n + 1, dtype=torch.float64)
    alpha_bar = torch.cos((time + 0.008) / 1.008 * torch.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999).float()


def sigmoid_betas(n: int, start: float, end: float) -> Tensor:
    """Betas rising along an S from start to end. -> float32 [n]. As in GeoDiff, Xu et al. 2022."""
    return torch.linspace(-6, 6, n, dtype=torch.float32).sigmoid() * (end - start) + start


BETAS = {
    "linear": linear_betas,
    "scaled_linear": scaled_linear_betas,
    "squaredcos_cap_v2": cosine_betas,
    "sigmoid": sigmoid_betas,
}


def rescale_to_zero_snr(betas: Tensor) -> Tensor:
    """Betas [n] -> betas [n] with nothing of the picture left at the end: the last one is 1.

    The root of alpha_bar is moved down and stretched, so that it ends at 0 and begins as before.
    Lin et al. 2023 (arXiv 2305.08891), algorithm 1.
    """
    root = torch.cumprod(1 - betas, dim=0).sqrt()
    first, last = root[0], root[-1]
    alpha_bar = ((root - last) * (first / (first - last))) ** 2
    return 1 - torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])
