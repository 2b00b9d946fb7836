"""What the UNet is asked to name, and how much its error at each timestep counts.

Noisy latents x = sqrt(a) x0 + sqrt(1 - a) eps hold two unknowns, and x itself is given: whoever
names the noise eps has named the clean x0 as well, and v, which lies between the two. So these
three are one question. What differs is the size of the error: the same guess is off by other
amounts, by factors that depend on the timestep alone (`eps_error_factor`). A mean of squared errors
over timesteps is thus one loss in three weightings, and the weighting may be chosen by itself.
Notebook 11 shows what each choice does.

a is alpha_bar, the share of the variance that is still picture; SNR = a / (1 - a). Salimans & Ho
2022 (arXiv 2202.00512), section 4 and appendix D; Hang et al. 2023 (arXiv 2303.09556).
"""

import torch
from torch import Tensor

from .schedule import Schedule

TARGETS = ("epsilon", "sample", "v_prediction")  # the noise, the clean latents, and v between them
WEIGHTINGS = ("uniform", "as_x0", "as_v", "min_snr", "clipped_v")


def target(kind: str, x0: Tensor, noise: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """What the network should answer for x = add_noise(x0, noise, t), in the shape of x0.

    kind: a name out of TARGETS; x0, noise [B, ...]; t scalar or [B]. ValueError for another name.
    """
    _check("kind", kind, TARGETS)
    if kind == "v_prediction":
        x = schedule.add_noise(x0, noise, t)
        return schedule.v_from_eps(noise, x, t)
    return noise if kind == "epsilon" else x0


def eps_of(kind: str, answer: Tensor, x: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """The noise that the network's answer to noisy latents x [B, ...] at t tells of.

    At t = 0 there is hardly any noise, so an x0 a little off tells of noise that is far off.
    """
    _check("kind", kind, TARGETS)
    if kind == "v_prediction":
        return schedule.eps_from_v(answer, x, t)
    if kind == "epsilon":
        return answer
    a = schedule.alpha_bar(t).reshape(-1, *[1] * (x.dim() - 1)).to(x)
    return (x - a.sqrt() * answer) / (1 - a).sqrt()


def eps_error_factor(kind: str, alpha_bar: Tensor) -> Tensor:
    """Times this, the squared error of an answer is the squared error of the noise it tells of.

    1 for the noise itself, a / (1 - a) = SNR for x0, a for v; float, shaped as alpha_bar.
    """
    _check("kind", kind, TARGETS)
    if kind == "sample":
        return alpha_bar / (1 - alpha_bar)
    return alpha_bar if kind == "v_prediction" else torch.ones_like(alpha_bar)


def weighting(name: str, alpha_bar: Tensor, gamma: float = 5.0, most: float = 10.0) -> Tensor:
    """How much the squared error of the noise counts at each timestep: mean 1, like alpha_bar [T].

    uniform: the plain mean (Ho et al. 2020, eq. 14).
    as_x0, as_v: 1 / SNR and 1 / a, which make it the plain mean of the error of x0, or of v.
    min_snr: min(1, gamma / SNR): less where hardly any noise is left, and naming it is hardest
        (Hang et al. 2023, whose gamma is 5).
    clipped_v: min(1 / a, most): as_v gives the noisy timesteps, which decide layout and colours, a
        say; that it ends at `most` keeps the very noisiest from drowning all others. The bundled
        model was trained with it.
    ValueError for another name.
    """
    _check("weighting", name, WEIGHTINGS)
    snr = alpha_bar / (1 - alpha_bar)
    weights = {
        "uniform": torch.ones_like(alpha_bar),
        "as_x0": 1 / snr,
        "as_v": 1 / alpha_bar,
        "min_snr": (gamma / snr).clamp(max=1),
        "clipped_v": (1 / alpha_bar).clamp(max=most),
    }[name]
    return weights / weights.mean()


def offset_noise(noise: Tensor, strength: float, g: torch.Generator) -> Tensor:
    """Noise [B, C, h, w] plus one random number a channel, the same for all its cells.

    Ordinary noise hardly moves the mean of many cells, so what is left of the picture gives its
    brightness away even at the last timestep; with an offset the mean is hidden as well, and a
    network learns to choose it (N. Guttenberg, "Diffusion with Offset Noise", 2023). strength 0
    draws nothing and changes nothing.
    """
    if not strength:
        return noise
    return noise + strength * torch.randn((*noise.shape[:2], 1, 1), generator=g).to(noise)


def _check(what: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise ValueError(f"{what} {name!r} is not known. Choose from: {', '.join(names)}.")
