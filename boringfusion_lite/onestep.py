"""Steps that know this moment only; the better ones ask the model once more on their way.

All but the first two start from one idea: seen in sigma, clean latents are reached along a curve
whose slope is the predicted noise. Euler goes straight along the slope of the start, Heun takes a
better slope, the DPM family measures the way in log(sigma). Notebook 05 builds this module.
"""

from dataclasses import replace

from torch import Tensor

from .moment import Moment, Step, alpha_bar_of


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
    x = x + (now.sigma_prev - now.sigma) * now.eps
    return x * now.a_prev**0.5


# ---- second order: two calls of the model a step, one in the last, which goes to sigma 0 ---------


def mean_slope(now: Moment, step: Step) -> Tensor:
    """The noise predicted here and the noise predicted where `step` leads, averaged."""
    return (now.eps + now.predict(step(now), now.t_prev)) / 2


def heun_step(now: Moment) -> Tensor:
    """Euler with the mean of the slopes at both ends. Karras et al. 2022, algorithm 1.

    The last step is Euler's: at sigma 0 there is no slope.
    """
    if now.a_prev == 1:
        return euler_step(now)
    return euler_step(replace(now, eps=mean_slope(now, euler_step)))


def halfway(now: Moment, step: Step = euler_step) -> Moment:
    """The moment in the middle of the way in log(sigma): `step` goes there and asks again.

    Its timestep is rarely whole. What it is on the way to is as before: a_prev.
    """
    sigma = (now.sigma * now.sigma_prev) ** 0.5
    t, a = now.schedule.timestep_of(sigma).item(), alpha_bar_of(sigma)
    x = step(replace(now, a_prev=a))
    return replace(now, x=x, eps=now.predict(x, t), t=t, a_t=a)


def dpm2_step(now: Moment) -> Tensor:
    """Euler with the slope from halfway. Lu et al. 2022, DPM-Solver (arXiv 2206.00927), alg. 1.

    The paper's DPM-Solver-2 with r = 1/2, whose exponentials are straight lines when seen in sigma.
    The last step is Euler's, as in k-diffusion.
    """
    if now.a_prev == 1:
        return euler_step(now)
    return euler_step(replace(now, eps=halfway(now).eps))


def toward(now: Moment, x0: Tensor) -> Tensor:
    """Go to a_prev as if the clean latents were x0 all the way; with now.x0 that is Euler's step.

    The exponential integrator of Lu et al. 2022, DPM-Solver++ (arXiv 2211.01095): exact where x0
    does not change, so that all care goes into choosing x0.
    """
    shrink = now.sigma_prev / now.sigma  # the paper's exp(-h)
    return now.a_prev**0.5 * (shrink * now.x / now.a_t**0.5 + (1 - shrink) * x0)


def dpmpp_2s_step(now: Moment) -> Tensor:
    """Go toward the clean latents seen from halfway. DPM-Solver++, algorithm 1 with r = 1/2."""
    return toward(now, now.x0 if now.a_prev == 1 else halfway(now).x0)


# ---- with fresh noise in every step --------------------------------------------------------------


def ancestral(step: Step, now: Moment) -> Tensor:
    """Let `step` take out more noise than asked for, and put fresh noise back.

    It goes down to sigma_prev^2 / sigma, as far below sigma_prev as that is below sigma; what is
    missing is the spread of q(x_prev | x_t, x0) in DDPM (Ho et al. 2020, eq. 7), or of DDIM with
    eta 1. As `get_ancestral_step` of k-diffusion. No noise is added at the end, sigma 0.
    """
    if now.a_prev == 1:
        return step(now)
    share = now.sigma_prev / now.sigma
    a_down = alpha_bar_of(now.sigma_prev * share)
    up = now.sigma_prev * (1 - share**2) ** 0.5
    x = step(replace(now, a_prev=a_down)) / a_down**0.5  # the sigma view again
    return now.a_prev**0.5 * (x + up * now.noise())


def euler_a_step(now: Moment) -> Tensor:
    """Euler, ancestral: DDIM with eta 1 in another guise. As in k-diffusion."""
    return ancestral(euler_step, now)


def dpm2_a_step(now: Moment) -> Tensor:
    """DPM-Solver-2, ancestral, as in k-diffusion. Its halfway is exactly the next timestep."""
    return ancestral(dpm2_step, now)


def dpmpp_2s_a_step(now: Moment) -> Tensor:
    """DPM-Solver++(2S), ancestral, as in k-diffusion. Its halfway is exactly the next timestep."""
    return ancestral(dpmpp_2s_step, now)


def dpmpp_sde_step(now: Moment) -> Tensor:
    """DPM-Solver++(2S) for the equation with noise: also the way to the middle is a random one.

    The noise of the first half is part of that of the whole, as it would be along one random walk
    in sigma. k-diffusion keeps the walk in a tree that can be asked at any sigma; here two draws
    make the two noises that it would give. The last step is Euler's.
    """
    if now.a_prev == 1:
        return euler_step(now)
    first, rest = now.noise(), now.noise()
    middle = halfway(replace(now, noise=lambda: first), euler_a_step)
    share = (now.sigma - middle.sigma) / (now.sigma - now.sigma_prev)  # of the variance
    whole = share**0.5 * first + (1 - share) ** 0.5 * rest
    return ancestral(lambda part: toward(part, middle.x0), replace(now, noise=lambda: whole))
