"""Checkers of page 05: the formula of guidance, one step of DDIM, a fair race of two samplers."""

import torch
from torch import Tensor

from ..runtime import generator
from ..samplers import sample
from ..schedule import Schedule
from .verdict import Wrong, ask, checks, expect


def _draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed))


@checks
def check_cfg(yours) -> str:
    """yours(uncond, cond, scale) -> the guided noise-guess, in the same shape."""
    for seed, shape in enumerate([(2, 4, 5, 3), (1, 4, 2, 2), (3, 2)]):
        u, c = _draw(seed, *shape), _draw(seed + 100, *shape)
        for g in (7.5, 2.0, -3.0):
            turned, paper = c + g * (u - c), u + (1 + g) * (c - u)
            causes = {
                "The two guesses have changed places: at scale 1 the answer must be cond.": turned,
                "That is the paper's form, where 0 means off: its w is scale - 1.": paper,
                "The difference alone is not a guess: add it to uncond.": g * (c - u),
            }
            wanted = u + g * (c - u)
            expect(ask(yours, u, c, g), wanted, f"scale {g:g}", causes, tolerance=1e-4)
        expect(ask(yours, u, c, 0), u, "scale 0, where the prompt has no say", tolerance=1e-4)
        expect(ask(yours, u, c, 1), c, "scale 1, which is the prompt alone", tolerance=1e-4)
        swapped = ask(yours, c, u, 1 - 7.5)
        expect(swapped, ask(yours, u, c, 7.5), "the swap of both with 1 - scale", tolerance=1e-4)
    return "at 0, at 1, beyond, below, and with both swapped"


@checks
def check_ddim(yours) -> str:
    """yours(x, eps, alphas_cumprod, t, t_prev) -> the next latents; t_prev None at the end."""
    tables = [Schedule().alphas_cumprod, Schedule.linear().alphas_cumprod]
    for seed, (table, t, t_prev) in enumerate(
        [(tables[0], 951, 901), (tables[1], 500, 100), (tables[0], 41, 1)]
    ):
        x, eps = _draw(seed, 2, 4, 6, 5), _draw(seed + 50, 2, 4, 6, 5)
        a, b = table[t], table[t_prev]
        x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
        early = _ddim(x, eps, a, table[t - 1])
        turned = (1 - b).sqrt() * x0 + b.sqrt() * eps
        causes = {
            "You step to t - 1; the next timestep of this run is t_prev.": early,
            "That puts all the noise back: the levels after the step are those of t_prev.": x,
            "That is the clean-guess; put the smaller amount of noise back in.": x0,
            "alpha_bar stands where its root belongs.": b * x0 + (1 - b) * eps,
            "The levels of t and t_prev have changed places.": _ddim(x, eps, b, a),
            "The weights of picture and noise have changed places.": turned,
        }
        answer = ask(yours, x, eps, table, t, t_prev)
        what = f"the step from {t} to {t_prev}"
        expect(answer, _ddim(x, eps, a, b), what, causes, tolerance=1e-4)
        again = ask(yours, x, eps, table, t, t_prev)
        expect(again, answer, "the same step once more, which draws nothing", tolerance=0.0)
    return _check_last_step(yours, tables[0])


def _check_last_step(yours, table: Tensor) -> str:
    x, eps = _draw(7, 1, 4, 3, 3), _draw(8, 1, 4, 3, 3)
    one = torch.tensor(1.0)
    for t in (951, 1):
        first, last = (_ddim(x, eps, table[t], table[end]) for end in (0, -1))
        causes = {
            "t_prev None means alpha_bar 1; that of t = 0 is still a little noisy.": first,
            "t_prev None means alpha_bar 1; the last entry of the table is the noisiest.": last,
        }
        wanted = _ddim(x, eps, table[t], one)
        answer = ask(yours, x, eps, table, t, None)
        expect(answer, wanted, f"the last step, from {t} to the end", causes, tolerance=1e-4)
    return "steps of all lengths; the last one returns the clean-guess"


def _ddim(x: Tensor, eps: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return b.sqrt() * (x - (1 - a).sqrt() * eps) / a.sqrt() + (1 - b).sqrt() * eps


@checks
def check_duel(yours) -> str:
    """yours(predict_eps, x, schedule, calls, truth) -> distance of Euler minus that of Heun [B]."""
    schedule = Schedule(set_alpha_to_one=True)
    for seed, calls in ((0, 9), (1, 16)):
        watched, x = _Watched(schedule, seed), _draw(seed + 20, 8, 4, 3, 3)
        *_, last = sample(watched.exact, x, schedule, "heun", 200, spacing="trailing")
        answer = ask(yours, watched, x, schedule, calls, last.x)
        watched.check(x, calls)
        far = {
            name: _distance(watched.exact, x, schedule, name, steps, last.x)
            for name, steps in (("euler", calls), ("heun", (calls + 1) // 2))
        }
        wanted = far["euler"] - far["heun"]
        if not isinstance(answer, Tensor) or answer.shape != wanted.shape:
            raise Wrong(
                "One difference for each start, please: a tensor [B]. Each start is its own pair; "
                "an average over all of them hides how often each side wins."
            )
        causes = {"The sign: the distance of Euler minus that of Heun.": -wanted}
        expect(answer, wanted, "the differences", causes, tolerance=1e-3)
    return "equal calls, equal starts, one difference for each"


def _distance(predict_eps, x, schedule, name: str, steps: int, truth: Tensor) -> Tensor:
    *_, last = sample(predict_eps, x, schedule, name, steps, spacing="trailing")
    return (last.x - truth).flatten(1).norm(dim=1)


class _Watched:
    """The exact denoiser of normally distributed data; it notes what every run asks."""

    def __init__(self, schedule: Schedule, seed: int):
        self.schedule, self.mean = schedule, _draw(seed + 30, 4, 3, 3)
        self.spread = 0.2 + _draw(seed + 40, 4, 3, 3).abs()
        self.runs: list[list[tuple[float, Tensor]]] = []

    def exact(self, x: Tensor, t) -> Tensor:
        a = float(self.schedule.alpha_bar(t))
        away = x - a**0.5 * self.mean
        return (1 - a) ** 0.5 * away / (a * self.spread**2 + 1 - a)

    def __call__(self, x: Tensor, t) -> Tensor:
        if not self.runs or float(t) > self.runs[-1][-1][0]:  # time runs down within a run
            self.runs.append([])
        self.runs[-1].append((float(t), x.clone()))
        return self.exact(x, t)

    def check(self, x: Tensor, calls: int) -> None:
        if len(self.runs) != 2:
            raise Wrong(f"There were {len(self.runs)} runs; one with each sampler was expected.")
        for asked in self.runs:
            if not torch.equal(asked[0][1], x):
                raise Wrong("The runs do not both start from x. A fair pair shares its noise.")
            if asked[0][0] != self.schedule.num_train_timesteps - 1:
                raise Wrong(
                    f"A run starts at t = {asked[0][0]:g}, but x is noise of t = 999. Choose "
                    'spacing="trailing", which starts there for every number of steps.'
                )
        most, least = sorted((len(asked) for asked in self.runs), reverse=True)
        if most > calls:
            raise Wrong(
                f"One run asked the model {most} times, {calls} are allowed. Equal steps are not "
                "equal calls: Heun asks twice in every step but the last."
            )
        if most < calls or least < 2 * ((calls + 1) // 2) - 1:
            raise Wrong(
                f"With {calls} calls allowed, the runs used {most} and {least}. n steps of Heun "
                "take 2 n - 1 calls: use as many as fit."
            )
