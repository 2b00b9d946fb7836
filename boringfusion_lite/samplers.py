"""From noise to picture: pure step functions, and the one loop that runs any of them.

A step sees one `Moment` (the latents, the predicted noise, two noise levels, the recent past) and
answers with the next latents: arithmetic only. Noise levels are alpha_bar, so latents keep
variance near 1 all the way; Euler and DPM-Solver++ change to sigma and back within their step.
Notebook 05 builds this module.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise

import torch
from torch import Tensor

from .schedule import Schedule, sigma_of

PredictEps = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Frame:
    """One step of a run, for pictures and sliders."""

    step: int  # counted from 1
    t: int  # the timestep at which the noise was predicted
    x: Tensor  # the latents after the step, less noisy
    x0: Tensor  # the model's guess, before the step, of the clean latents
    eps: Tensor  # the predicted noise


@dataclass(frozen=True, eq=False)
class Moment:
    """All that a step may look at: latents x at timestep t, on the way to t_prev.

    a_t, a_prev: alpha_bar now and after the step. The last step has t_prev None and a_prev 1.
    past: up to three earlier moments, newest last, for methods that learn from them.
    predict(x, t): asks the model again, for methods that look ahead. noise(): fresh, like x.
    """

    x: Tensor
    eps: Tensor
    t: int
    t_prev: int | None
    a_t: float
    a_prev: float
    schedule: Schedule
    predict: Callable[[Tensor, float], Tensor]
    noise: Callable[[], Tensor]
    past: tuple["Moment", ...] = ()

    @cached_property
    def x0(self) -> Tensor:
        """The clean latents that x and eps point to. Ho et al. 2020, eq. 4 solved for x_0."""
        return (self.x - (1 - self.a_t) ** 0.5 * self.eps) / self.a_t**0.5


def ddpm_step(now: Moment) -> Tensor:
    """Draw from q(x_prev | x_t, x0), the exact way back were x0 true. Ho et al. 2020, eq. 6-7."""
    alpha = now.a_t / now.a_prev  # share of the picture kept between the two timesteps
    beta, weight = 1 - alpha, 1 - now.a_t
    mean = now.a_prev**0.5 * beta / weight * now.x0
    mean = mean + alpha**0.5 * (1 - now.a_prev) / weight * now.x
    if now.a_prev == 1:
        return mean
    return mean + ((1 - now.a_prev) / weight * beta) ** 0.5 * now.noise()


def ddim_step(now: Moment, eta: float = 0.0) -> Tensor:
    """Take the noise out, put less of the same back. Song et al. 2020 (2010.02502), eq. 12.

    eta in [0, 1] is how much of what is put back is drawn fresh (eq. 16): 0 none, 1 as in DDPM.
    Ends at the schedule's `final_alpha_cumprod`, which in SD 1.x leaves a trace of noise.
    """
    a_prev = min(now.a_prev, now.schedule.final_alpha_cumprod)
    fresh = eta * ((1 - a_prev) / (1 - now.a_t) * (1 - now.a_t / a_prev)) ** 0.5
    x = a_prev**0.5 * now.x0 + (1 - a_prev - fresh**2) ** 0.5 * now.eps
    return x + fresh * now.noise() if fresh else x


def euler_step(now: Moment) -> Tensor:
    """Follow the slope dx/dsigma = eps straight to the next sigma, 0 at the end.

    Karras et al. 2022 (arXiv 2206.00364), algorithm 1 without its second-order correction.
    """
    x = now.x / now.a_t**0.5  # the sigma view: picture + sigma * noise
    x = x + (sigma_of(now.a_prev) - sigma_of(now.a_t)) * now.eps
    return x * now.a_prev**0.5


def dpmpp_2m_step(now: Moment) -> Tensor:
    """Euler in log(sigma), with x0 extrapolated along its change since the last step.

    The first step and the one to sigma 0 have nothing to extrapolate and use x0 as it is.
    Lu et al. 2022, DPM-Solver++ (arXiv 2211.01095), algorithm 2.
    """
    shrink = sigma_of(now.a_prev) / sigma_of(now.a_t)  # the paper's exp(-h)
    x0 = now.x0
    if now.past and now.a_prev < 1:
        before = now.past[-1]
        h, h_before = -math.log(shrink), math.log(sigma_of(before.a_t) / sigma_of(now.a_t))
        x0 = x0 + h / (2 * h_before) * (x0 - before.x0)
    return now.a_prev**0.5 * (shrink * now.x / now.a_t**0.5 + (1 - shrink) * x0)


SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ddpm": ddpm_step,
    "ddim": ddim_step,
    "euler": euler_step,
    "dpmpp_2m": dpmpp_2m_step,
}


def sample(
    predict_eps: PredictEps,
    x: Tensor,
    schedule: Schedule,
    sampler: str = "ddim",
    steps: int = 20,
    eta: float = 0.0,
    generator: torch.Generator | list[torch.Generator] | None = None,
    timesteps: Sequence[int] | Tensor | None = None,
) -> Iterator[Frame]:
    """Denoise x, one `Frame` a step: `*_, last = sample(...)` for the end of it alone.

    predict_eps(x, t): latents and int tensor [] -> predicted noise in the shape of x.
    x: latents [B, 4, h, w], noised to the level of the first timestep; left untouched.
    generator: on the CPU, for the samplers that draw noise (ddpm; ddim with eta above 0); a list
    holds one for each picture.
    timesteps: falling, instead of `schedule.timesteps(steps)`; a tail of those starts midway (an
    empty one yields no frame).
    ValueError, before the first step, for arguments that cannot work; FloatingPointError, naming
    the step, where the prediction is not finite.
    """
    step = _choose_step(sampler, eta)
    if timesteps is None:
        timesteps = schedule.timesteps(steps)
    timesteps = _check_timesteps(timesteps, schedule)
    if not x.is_floating_point() or not x.isfinite().all():
        raise ValueError(f"The starting latents ({x.dtype}) must be finite floating-point numbers.")
    generators = generator if isinstance(generator, list) else [generator]
    if len(generators) not in (1, len(x)):
        raise ValueError(f"{len(generators)} generators for {len(x)} pictures: give one for each.")
    for g in generators:
        if g is not None and g.device.type != "cpu":
            raise ValueError(f"The generator is on {g.device}; seed one on the CPU instead.")
    return _frames(step, predict_eps, x, schedule, timesteps, generators)


@torch.no_grad()
def _frames(step, predict_eps, x, schedule, timesteps, generators) -> Iterator[Frame]:
    alpha_bar = schedule.alphas_cumprod.tolist()
    past: tuple[Moment, ...] = ()

    def noise() -> Tensor:  # in float32 on the CPU, so that a seed means the same everywhere
        shape = (len(x) // len(generators), *x.shape[1:])
        drawn = [torch.randn(shape, generator=g, dtype=torch.float32) for g in generators]
        return torch.cat(drawn).to(x)

    for number, (t, t_prev) in enumerate(pairwise([*timesteps, None]), start=1):
        predict = partial(_predict, predict_eps, number)
        a_prev = 1.0 if t_prev is None else alpha_bar[t_prev]
        eps = predict(x, t)
        now = Moment(x, eps, t, t_prev, alpha_bar[t], a_prev, schedule, predict, noise, past)
        x = step(now)
        yield Frame(number, t, x, now.x0, eps)
        past = (*past, replace(now, past=()))[-3:]


def _predict(predict_eps: PredictEps, number: int, x: Tensor, t: float) -> Tensor:
    eps = predict_eps(x, torch.tensor(t, device=x.device))
    if eps.shape != x.shape:
        raise ValueError(
            f"predict_eps turned latents {list(x.shape)} into noise {list(eps.shape)}; the shapes "
            "must be equal. Does the context have one row an image?"
        )
    if not eps.isfinite().all():
        raise FloatingPointError(
            f"Step {number} (t = {t}): the predicted noise holds NaN or infinity. Half precision "
            "may have overflowed (try float32 or bfloat16), or the weights or prompt are damaged."
        )
    return eps.to(x.dtype)


def _choose_step(sampler: str, eta: float) -> Callable[[Moment], Tensor]:
    if sampler not in SAMPLERS:
        raise ValueError(f"Unknown sampler {sampler!r}. Choose from: {', '.join(SAMPLERS)}.")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta = {eta}: choose from 0 (no fresh noise) to 1 (as much as DDPM).")
    step = SAMPLERS[sampler]
    if "eta" in inspect.signature(step).parameters:
        return partial(step, eta=eta)
    if eta:
        raise ValueError(f"Sampler {sampler!r} has no eta. Leave eta at 0 or choose 'ddim'.")
    return step


def _check_timesteps(timesteps: Sequence[int] | Tensor, schedule: Schedule) -> list[int]:
    table = torch.as_tensor(timesteps).tolist()
    top = schedule.num_train_timesteps
    whole = all(isinstance(t, int) for t in table)
    if not whole or any(a <= b for a, b in pairwise([top, *table, -1])):
        raise ValueError(f"timesteps must be whole numbers falling from below {top} to 0: {table}.")
    return table
