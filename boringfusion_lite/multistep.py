"""Steps that learn from the past: one call of the model each, and a curve through its answers.

All draw a polynomial through the latest predictions and follow it to the next noise level. They
differ in what is drawn (eps or x0) and over which axis (t, sigma or log(sigma)). In the first steps
there is little past, so that the curves begin as straight lines. Notebook 05 builds this module.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from .moment import Moment
from .onestep import ddim_step, euler_step, mean_slope, toward


def weights(nodes: Sequence[float], moments: Sequence[float]) -> list[float]:
    """What to multiply values at the nodes with, to get the mean of the polynomial through them.

    moments: the means of 1, u, u^2, ... over the stretch where the mean is taken, one a node.
    """
    powers = np.vander(np.array(nodes, dtype=np.float64), increasing=True).T
    return np.linalg.solve(powers, np.array(moments)).tolist()


def adams_bashforth(nodes: Sequence[float]) -> list[float]:
    """The weights for the stretch from 0 to 1, evenly: (55, -59, 37, -9) / 24 for 0, -1, -2, -3."""
    return weights(nodes, [1 / (k + 1) for k in range(len(nodes))])


def blend(factors: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """The sum of the values, each times its factor."""
    return sum(factor * value for factor, value in zip(factors, values, strict=True))


def plms_step(now: Moment) -> Tensor:
    """DDIM's step with eps extrapolated from the last four, which assumes even timesteps.

    Liu et al. 2022, PNDM (arXiv 2202.09778). As in latent diffusion, and as in diffusers with
    `skip_prk_steps`: the first step is Heun's, with a second call of the model, and the order rises
    to four from there. Ends where DDIM does.
    """
    if not now.past:
        eps = now.eps if now.t_prev is None else mean_slope(now, ddim_step)
    else:
        recent = [now, *reversed(now.past)]
        nodes = range(0, -len(recent), -1)
        eps = blend(adams_bashforth(nodes), [moment.eps for moment in recent])
    return ddim_step(replace(now, eps=eps))


def lms_step(now: Moment) -> Tensor:
    """Euler's step with the mean slope of the polynomial in sigma through the last four.

    The linear multistep method of Adams and Bashforth for uneven steps, as in k-diffusion: order
    four, less in the first three steps, and the last step is like any other.
    """
    recent = [now, *reversed(now.past)]
    nodes = [(moment.sigma - now.sigma) / (now.sigma_prev - now.sigma) for moment in recent]
    eps = blend(adams_bashforth(nodes), [moment.eps for moment in recent])
    return euler_step(replace(now, eps=eps))


def extrapolated(now: Moment) -> Tensor:
    """x0 in the middle of the coming step, were it to change on as it did in the last one.

    The first step and the one to sigma 0 have nothing to extrapolate and take x0 as it is.
    """
    if not now.past or now.a_prev == 1:
        return now.x0
    before = now.past[-1]
    h, h_before = math.log(now.sigma / now.sigma_prev), math.log(before.sigma / now.sigma)
    return now.x0 + h / (2 * h_before) * (now.x0 - before.x0)


def dpmpp_2m_step(now: Moment) -> Tensor:
    """Euler in log(sigma), with x0 extrapolated along its change since the last step.

    Lu et al. 2022, DPM-Solver++ (arXiv 2211.01095), algorithm 2.
    """
    return toward(now, extrapolated(now))


def interpolated(before: Moment, now: Moment) -> Tensor:
    """The mean x0 on the way from `before` to `now`: of the parabola through three of them.

    Over u = 0 .. 1, even in log(sigma), with the weight exp(h u) that x0 has in the exact solution
    of DPM-Solver++. Where there are two only, the mean of both, as in diffusers.
    """
    if not before.past:
        return (before.x0 + now.x0) / 2
    three = [before.past[-1], before, now]
    h = math.log(before.sigma / now.sigma)
    nodes = [math.log(before.sigma / moment.sigma) / h for moment in three]
    end = -1 / math.expm1(-h)  # the weight at u = 1, where the mean weight is 1, divided by h
    mean = end - 1 / h
    return blend(weights(nodes, [1, mean, end - 2 * mean / h]), [moment.x0 for moment in three])


def unipc_step(now: Moment) -> Tensor:
    """DPM-Solver++(2M), and the last step put right, now that x0 at its end is known.

    Moves x by the difference between the step taken, with x0 extrapolated, and the same step with
    x0 interpolated; no call of the model is spent on it. x0 remains the one of the x that the model
    saw. Zhao et al. 2023, UniPC (arXiv 2302.04867), of order 2 with B(h) = exp(h) - 1, for x0; as
    in diffusers the first and the last step are of order 1.
    """
    x = now.x
    if now.past:
        before = replace(now.past[-1], past=now.past[:-1])
        x = x + toward(before, interpolated(before, now)) - toward(before, extrapolated(before))
    return toward(replace(now, x=x), extrapolated(now))
