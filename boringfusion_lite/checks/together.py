"""Checkers of page 07: the loop, image-to-image, and a run that is taken up again."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..runtime import generator
from ..samplers import Frame, sample
from ..schedule import Schedule
from .verdict import Wrong, ask, checks, expect


def _draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator(seed))


class Model:
    """A made-up network: fixed random weights, other answers at every t; it counts its calls."""

    def __init__(self, seed: int):
        self.weight, self.asked = _draw(seed, 4, 4, 3, 3), []

    def __call__(self, x: Tensor, t: Tensor | int) -> Tensor:
        self.asked.append(int(t))
        wave = F.conv2d(x, self.weight, padding=1)
        return 1.5 * torch.tanh(0.3 * wave + torch.sin(torch.as_tensor(t) / 150))

    def last(self, x: Tensor, schedule: Schedule, timesteps=None, **options) -> Tensor:
        """The clean latents of a run of the package's own loop."""
        *_, frame = sample(self, x, schedule, timesteps=timesteps, **options)
        return frame.x


@checks
def check_loop(yours) -> str:
    """yours(guesses, x, levels, guidance) -> clean latents, by DDIM.

    guesses(x, t) -> (empty, prompted); levels: {t: (alpha_bar at t, alpha_bar after the step)}.
    """
    for seed, (steps, guidance) in enumerate([(5, 3.0), (3, -2.0), (8, 1.0)]):
        empty, prompted, schedule = Model(seed), Model(seed + 50), Schedule()
        x, timesteps = _draw(seed + 9, 2, 4, 3, 5), schedule.timesteps(steps).tolist()
        before = [schedule.alphas_cumprod[t].item() for t in timesteps]
        after = [*before[1:], schedule.final_alpha_cumprod]
        levels = dict(sorted(zip(timesteps, zip(before, after))))  # rising: the order is a blank

        def guesses(x, t, empty=empty, prompted=prompted):
            return empty(x, t), prompted(x, t)

        wanted = _loop(guesses, x, levels, timesteps, _guided(guidance))
        causes = _loop_causes(guesses, x, levels, timesteps, guidance) if guidance != 1 else {}
        what = f"{steps} steps with guidance {guidance:g}"
        expect(ask(yours, guesses, x, levels, guidance), wanted, what, causes, tolerance=1e-3)
    return "three runs, the order of the timesteps and the guidance included"


def _guided(guidance: float):
    return lambda empty, prompted: empty + guidance * (prompted - empty)


def _loop(guesses, x: Tensor, levels, order, mix) -> Tensor:
    for t in order:
        a, a_next = levels[t]
        eps = mix(*guesses(x, t))
        x0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
        x = a_next**0.5 * x0 + (1 - a_next) ** 0.5 * eps
    return x


def _loop_causes(guesses, x: Tensor, levels, order, guidance: float) -> dict[str, Tensor]:
    def run(order, mix):
        return _loop(guesses, x, levels, order, mix)

    right = _guided(guidance)
    return {
        "The timesteps rise, but a run goes from the noisiest, the largest t, down to the "
        "cleanest.": run(order[::-1], right),
        "The empty and the prompted guess have changed places.": run(
            order, lambda empty, prompted: right(prompted, empty)
        ),
        "The guidance is still missing: the prompted guess is used alone.": run(
            order, lambda empty, prompted: prompted
        ),
        "The difference alone is no guess: it must be added to the empty one.": run(
            order, lambda empty, prompted: guidance * (prompted - empty)
        ),
        "The loop leaves out its last step.": run(order[:-1], right),
    }


@checks
def check_image_to_image(yours) -> str:
    """yours(predict_eps, latents, noise, schedule, steps, strength) -> clean latents."""
    for seed, (steps, strength) in enumerate([(10, 0.3), (10, 0.6), (7, 1.0), (20, 0.58)]):
        model, schedule = Model(seed), Schedule()
        latents, noise = _draw(seed, 1, 4, 4, 6), _draw(seed + 9, 1, 4, 4, 6)
        every, run = schedule.timesteps(steps), int(steps * strength)
        left = every[steps - run :]
        wanted = model.last(schedule.add_noise(latents, noise, left[0]), schedule, left)
        answer = ask(yours, model, latents, noise, schedule, steps, strength)
        causes = (
            _strength_causes(model, latents, noise, schedule, every, run) if run < steps else {}
        )
        what = f"strength {strength} x {steps} -> {run} steps"
        expect(answer, wanted, what, causes, tolerance=1e-3)
    return "strengths 0.3, 0.58, 0.6 and 1"


def _strength_causes(model, latents, noise, schedule, every, run: int) -> dict[str, Tensor]:
    left = every[len(every) - run :]
    share = min(1000 * run // len(every), 999)

    def noised_to(t, x=latents):
        return schedule.add_noise(x, noise, t)

    starts = {
        "It is noised to the first timestep of the table, but denoised from a later one.": every[0],
        "It is noised one timestep too far.": every[len(every) - run - 1],
        f"It is noised to t = {share}, but the first timestep left is {int(left[0])}; the two must "
        "be the same.": share,
    }
    runs = {cause: (noised_to(t), left) for cause, t in starts.items()} | {
        "All steps are run: begin at the first timestep that is left.": (noised_to(left[0]), every),
        "The steps run are the first of the table; take those at its end.": (
            noised_to(every[0]),
            every[:run],
        ),
        "The noise is added twice.": (noised_to(left[0], noised_to(left[0])), left),
        "It begins with the latents as they are: noise them first.": (latents, left),
        "It begins with the noise alone.": (noise, left),
        "Strength is taken the wrong way round: 1 runs all steps, 0 none.": (
            noised_to(every[run]),
            every[run:],
        ),
    }
    return {cause: model.last(x, schedule, timesteps) for cause, (x, timesteps) in runs.items()}


@checks
def check_retake(yours) -> str:
    """yours(predict_eps, frames, k, schedule, seed) -> clean latents of a run changed after step k.

    frames: a finished run of the sampler "ddpm" with noise from `seed`, with another predict_eps.
    """
    shape, steps = (1, 4, 5, 4), 8
    for seed, k in ((3, 5), (11, 1), (4, 7)):
        first, second, schedule = Model(seed), Model(seed + 50), Schedule()
        frames = _ddpm(first, schedule, seed, shape, steps)
        kept = [frame.x.clone() for frame in frames]
        wanted = _ddpm(_Switch(first, second, k), schedule, seed, shape, steps)[-1].x
        second.asked.clear()
        answer = ask(yours, second, frames, k, schedule, seed)
        calls = len(second.asked)
        if any(not torch.equal(frame.x, old) for frame, old in zip(frames, kept)):
            raise Wrong("a stored frame was overwritten; make a copy before you change it.")
        causes = _retake_causes(second, frames, k, schedule, seed, shape)
        expect(answer, wanted, f"taken up again after step {k}", causes, tolerance=1e-3)
        if calls != steps - k:
            raise Wrong(
                f"the latents are right, but the model was asked {calls} times; the first {k} "
                f"steps are stored, so {steps - k} calls are enough."
            )
    return "equal to the full run, with the calls of the remaining steps only"


class _Switch:
    """One model for the first k calls, another after that."""

    def __init__(self, first, second, k: int):
        self.models, self.k, self.calls = (first, second), k, 0

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        return self.models[self.calls > self.k](x, t)


def _ddpm(model, schedule, seed: int, shape, steps: int) -> list[Frame]:
    numbers = generator(seed)  # it draws the start, and the noise of every step after it
    x = torch.randn(shape, generator=numbers)
    return list(sample(model, x, schedule, "ddpm", steps, generator=numbers))


def _retake_causes(model, frames, k: int, schedule, seed: int, shape) -> dict[str, Tensor]:
    left = [frame.t for frame in frames[k:]]

    def run(start: Tensor, drawn: int, timesteps) -> Tensor:
        numbers = generator(seed)
        for _ in range(drawn):
            torch.randn(shape, generator=numbers)
        options = {"sampler": "ddpm", "generator": numbers}
        return model.last(start, schedule, timesteps, **options)

    x = frames[k - 1].x
    causes = {
        "The generator begins anew, so these steps get the noise of the first ones. Draw what the "
        "finished steps have used, and throw it away.": run(x, 0, left),
        "The generator is one draw behind: the start of the run has used noise as well.": run(
            x, k, left
        ),
        "It goes on from the clean-guess x0; the latents between two steps are x.": run(
            frames[k - 1].x0, k + 1, left
        ),
        "The step after k is done twice: frames[k].x is already the result of step k + 1.": run(
            frames[k].x, k + 1, left
        ),
    }
    if k > 1:
        causes["Steps count from 1, places in a list from 0: after step k means frames[k - 1]."] = (
            run(frames[k - 2].x, k + 1, left)
        )
    return causes
