"""The exercises of page 03: noise in one jump, where noise takes over, zero terminal SNR."""

import torch
from torch import Tensor

from ..betas import rescale_to_zero_snr
from ..runtime import generator
from ..schedule import Schedule
from .verdict import Wrong, ask, checks, expect


@checks
def check_add_noise(yours) -> str:
    """`yours(x0, noise, betas, t)` is x_t in one jump, for latents of any shape."""
    draw = generator(31)
    cases = ((Schedule(), (2, 4, 8, 8), 500), (Schedule.linear(), (3,), 0), (Schedule(), (7,), 999))
    for schedule, shape, t in cases:
        x0, noise = (torch.randn(shape, generator=draw) for _ in range(2))
        betas, a = schedule.betas, schedule.alphas_cumprod
        before = a[t - 1] if t else torch.ones(())
        beta = betas[t]
        causes = {
            "alpha_bar multiplies variances; x0 and the noise get its root.": (
                a[t] * x0 + (1 - a[t]) * noise
            ),
            "This is one small noising with beta_t; the jump needs the product of all (1 - beta) "
            "up to t.": (1 - beta) ** 0.5 * x0 + beta**0.5 * noise,
            "One timestep too few: the product includes (1 - beta) of t itself.": (
                before**0.5 * x0 + (1 - before) ** 0.5 * noise
            ),
            "Signal and noise have each other's weight.": (
                a[t] ** 0.5 * noise + (1 - a[t]) ** 0.5 * x0
            ),
            "The weights add up to 1 here; it is their squares that do.": (
                a[t] ** 0.5 * x0 + (1 - a[t] ** 0.5) * noise
            ),
        }
        wanted = schedule.add_noise(x0, noise, t)
        expect(ask(yours, x0, noise, betas, t), wanted, f"x at t = {t}", causes)
    return "one jump, with a variance that stays at 1"


@checks
def check_even_timestep(yours) -> str:
    """`yours(betas)` is the timestep whose alpha_bar is nearest to one half, an int."""
    schedules = (
        Schedule(),
        Schedule.linear(),
        Schedule.cosine(),
        Schedule.sigmoid(),
        Schedule.zero_terminal_snr(),
        Schedule(beta_start=0.002, beta_end=0.02, num_train_timesteps=400),
    )
    for schedule in schedules:
        a = schedule.alphas_cumprod
        wanted = _nearest(a, 0.5)
        answer = ask(yours, schedule.betas)
        if not isinstance(answer, int) and not (isinstance(answer, Tensor) and answer.dim() == 0):
            raise Wrong(f"a timestep is one whole number; got {answer!r:.60}.")
        told = f"{schedule.beta_schedule}, {len(a)} timesteps"
        causes = {
            "This is where the root of alpha_bar is 0.5, and alpha_bar only 0.25.": _nearest(
                a.sqrt(), 0.5
            ),
            "This is where 1 - beta is nearest to one half, without the product.": _nearest(
                1 - schedule.betas, 0.5
            ),
            "One off: timesteps count from 0.": wanted + 1,
            "One off: this is the last one above one half, the next is nearer.": wanted - 1,
        }
        expect(int(answer), wanted, f"The even timestep ({told})", causes)
    return "signal and noise are even there, whatever the schedule"


@checks
def check_rescale(yours) -> str:
    """`yours(betas)` are new betas whose alpha_bar ends at 0 and begins as before."""
    for schedule in (Schedule(), Schedule.linear(), Schedule(beta_start=0.001, beta_end=0.02)):
        betas = schedule.betas.double()
        answer, wanted = ask(yours, betas), rescale_to_zero_snr(betas)
        if not isinstance(answer, Tensor) or answer.shape != betas.shape:
            raise Wrong(f"betas go in and betas come out, a tensor {list(betas.shape)}.")
        a, bent = torch.cumprod(1 - betas, dim=0), torch.cumprod(1 - wanted, dim=0)
        causes = {
            "These are alpha_bars, not betas: divide each by the one before it.": bent,
            "These are roots of alpha_bar, not betas: square them, divide each by the one before "
            "it, and take the result from 1.": bent.sqrt(),
            "alpha_bar itself was shifted; it is its root that goes down.": _betas(
                (a - a[-1]) * (a[0] / (a[0] - a[-1]))
            ),
            "The end is 0, but the beginning has moved as well: stretch the roots, so that the "
            "first is what it was.": _betas((a.sqrt() - a[-1].sqrt()) ** 2),
        }
        expect(answer, wanted, "The table of betas", causes, tolerance=1e-4)
    return "it ends in pure noise, and begins as before"


def _nearest(table: Tensor, value: float) -> int:
    return int((table - value).abs().argmin())


def _betas(alpha_bar: Tensor) -> Tensor:
    return 1 - torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])
