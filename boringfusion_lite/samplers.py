"""From noise to picture: the table of step functions, and the one loop that runs any of them.

A step sees one `Moment` (the latents, the predicted noise, two noise levels, the recent past) and
answers with the next latents: arithmetic only. Most need one call of the model a step; heun, dpm2,
dpm2_a, dpmpp_2s_a and dpmpp_sde need two, but in the last step one, and plms two in the first.
Notebook 05 builds this module.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from .moment import Frame, Moment, Step
from .multistep import dpmpp_2m_step, lms_step, plms_step, unipc_step
from .onestep import (
    ddim_step,
    ddpm_step,
    dpm2_a_step,
    dpm2_step,
    dpmpp_2s_a_step,
    dpmpp_sde_step,
    euler_a_step,
    euler_step,
    heun_step,
)
from .schedule import Schedule

PredictEps = Callable[[Tensor, Tensor], Tensor]

SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ddpm": ddpm_step,
    "ddim": ddim_step,
    "plms": plms_step,
    "euler": euler_step,
    "euler_a": euler_a_step,
    "heun": heun_step,
    "lms": lms_step,
    "dpm2": dpm2_step,
    "dpm2_a": dpm2_a_step,
    "dpmpp_2s_a": dpmpp_2s_a_step,
    "dpmpp_2m": dpmpp_2m_step,
    "dpmpp_sde": dpmpp_sde_step,
    "unipc": unipc_step,
}


def sample(
    predict_eps: PredictEps,
    x: Tensor,
    schedule: Schedule,
    sampler: str = "ddim",
    steps: int = 20,
    eta: float = 0.0,
    generator: torch.Generator | list[torch.Generator] | None = None,
    timesteps: Sequence[float] | Tensor | None = None,
    after_step: Callable[[Tensor, float], Tensor] | None = None,
    spacing: str = "",
) -> Iterator[Frame]:
    """Denoise x, one `Frame` a step: `*_, last = sample(...)` for the end of it alone.

    predict_eps(x, t): latents and a tensor [] -> predicted noise in the shape of x. t is int64;
    float32 where it is not whole: with Karras spacing, and halfway steps of dpm2 and dpmpp_*.
    x: latents [B, 4, h, w], noised to the level of the first timestep; left untouched.
    generator: on the CPU, for the samplers that draw noise (ddpm, dpmpp_sde, all that end in _a;
    ddim with eta above 0); a list holds one for each picture.
    timesteps: falling, instead of `schedule.timesteps(steps, spacing)`; a tail of those starts
    midway (an empty one yields no frame).
    after_step(x, alpha_bar): what is to be done to the latents between two steps, and after the
    last one, where alpha_bar is 1; inpainting puts back what it knows.
    spacing: the schedule's own unless given; "karras" suits all samplers but plms.
    ValueError, before the first step, for arguments that cannot work; FloatingPointError, naming
    the step, where the prediction is not finite.
    """
    step = _choose_step(sampler, eta)
    if timesteps is None:
        timesteps = schedule.timesteps(steps, spacing)
    elif spacing:
        raise ValueError(f"Give timesteps or a spacing ({spacing!r}), not both.")
    timesteps = _check_timesteps(timesteps, schedule, sampler)
    if not x.is_floating_point() or not x.isfinite().all():
        raise ValueError(f"The starting latents ({x.dtype}) must be finite floating-point numbers.")
    generators = generator if isinstance(generator, list) else [generator]
    if len(generators) not in (1, len(x)):
        raise ValueError(f"{len(generators)} generators for {len(x)} pictures: give one for each.")
    for g in generators:
        if g is not None and g.device.type != "cpu":
            raise ValueError(f"The generator is on {g.device}; seed one on the CPU instead.")
    return _frames(step, predict_eps, x, schedule, timesteps, generators, after_step)


@torch.no_grad()
def _frames(step, predict_eps, x, schedule, timesteps, generators, after_step) -> Iterator[Frame]:
    levels = [(t, schedule.alpha_bar(t).item()) for t in timesteps]
    past: tuple[Moment, ...] = ()

    def noise() -> Tensor:  # in float32 on the CPU, so that a seed means the same everywhere
        shape = (len(x) // len(generators), *x.shape[1:])
        drawn = [torch.randn(shape, generator=g, dtype=torch.float32) for g in generators]
        return torch.cat(drawn).to(x)

    for number, ((t, a_t), (t_prev, a_prev)) in enumerate(pairwise([*levels, (None, 1.0)]), 1):
        predict = partial(_predict, predict_eps, number)
        eps = predict(x, t)
        now = Moment(x, eps, t, t_prev, a_t, a_prev, schedule, predict, noise, past)
        x = step(now)
        if after_step is not None:
            x = after_step(x, a_prev)
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
            f"Step {number} (t = {t:g}): the predicted noise holds NaN or infinity. Half precision "
            "may have overflowed (try float32 or bfloat16), or the weights or prompt are damaged."
        )
    return eps.to(x.dtype)


def _choose_step(sampler: str, eta: float) -> Step:
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


def _check_timesteps(
    timesteps: Sequence[float] | Tensor, schedule: Schedule, sampler: str
) -> list[float]:
    table = torch.as_tensor(timesteps)
    if table.is_floating_point():  # a list of floats would have become float32
        table = torch.as_tensor(timesteps, dtype=torch.float64)
    table, last = table.tolist(), schedule.num_train_timesteps - 1
    inside = all(0 <= t <= last for t in table)
    if not inside or any(a <= b for a, b in pairwise(table)):
        raise ValueError(f"timesteps must fall, from at most {last} to at least 0: {table}.")
    if table and schedule.alpha_bar(table[0]) == 0:
        raise ValueError(
            f"At t = {table[0]} alpha_bar is 0: no picture is left, and a clean-guess from eps "
            "would divide by 0. Start at an earlier timestep."
        )
    strides = [a - b for a, b in pairwise(table)]
    if sampler == "plms" and strides and max(strides) - min(strides) > 1:  # rounding makes 1
        raise ValueError(
            "plms needs evenly spaced timesteps: its weights are fixed. Choose 'lms', which fits "
            "them to any spacing, or another spacing than 'karras'."
        )
    return table
