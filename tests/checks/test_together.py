"""The checkers of page 07 on right answers and on typical wrong ones."""

import pytest
import torch

import boringfusion_lite as bf
from boringfusion_lite import checks


def loop(order, mix, skip=0):
    def my_loop(guesses, x, levels, guidance):
        for t in order(levels)[: len(levels) - skip]:
            now, after = levels[t]
            eps = mix(*guesses(x, t), guidance)
            x0 = (x - (1 - now) ** 0.5 * eps) / now**0.5
            x = after**0.5 * x0 + (1 - after) ** 0.5 * eps
        return x

    return my_loop


def falling(levels):
    return sorted(levels, reverse=True)


def guided(empty, prompted, g):
    return empty + g * (prompted - empty)


def test_the_loop():
    assert checks.check_loop(loop(falling, guided)).passed
    assert checks.check_loop(lambda guesses, x, levels, guidance: None).passed is None


@pytest.mark.parametrize(
    ("order", "mix", "skip", "cause"),
    [
        (sorted, guided, 0, "timesteps rise"),
        (list, guided, 0, "timesteps rise"),
        (falling, lambda e, p, g: p + g * (e - p), 0, "changed places"),
        (falling, lambda e, p, g: p, 0, "guidance is still missing"),
        (falling, lambda e, p, g: g * (p - e), 0, "must be added"),
        (falling, guided, 1, "leaves out its last step"),
        (falling, lambda e, p, g: e, 0, "expected a tensor"),
    ],
)
def test_wrong_loops(order, mix, skip, cause):
    verdict = checks.check_loop(loop(order, mix, skip))
    assert verdict.passed is False and cause in verdict.message


def image_to_image(noise_to=None, left=None, start=None):
    """The right answer, but for what is given."""

    def mine(predict_eps, latents, noise, schedule, steps, strength):
        table, run = schedule.timesteps(steps), int(steps * strength)
        tail = (left or (lambda table, run: table[len(table) - run :]))(table, run)
        t = (noise_to or (lambda table, tail, strength: int(tail[0])))(table, tail, strength)
        x = schedule.add_noise(latents, noise, t)
        x = x if start is None else start(x, latents, noise, schedule, t)
        *_, frame = bf.sample(predict_eps, x, schedule, timesteps=tail)
        return frame.x

    return mine


def test_image_to_image():
    assert checks.check_image_to_image(image_to_image()).passed
    assert checks.check_image_to_image(lambda *args: ...).passed is None


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"noise_to": lambda table, tail, s: int(table[0])}, "first timestep of the table"),
        ({"noise_to": lambda table, tail, s: min(int(1000 * s), 999)}, "must be the same"),
        ({"left": lambda table, run: table[:run]}, "take those at its end"),
        ({"start": lambda x, known, noise, s, t: s.add_noise(x, noise, t)}, "added twice"),
        ({"start": lambda x, known, noise, s, t: known}, "noise them first"),
        ({"start": lambda x, known, noise, s, t: noise}, "the noise alone"),
        ({"start": lambda x, known, noise, s, t: -x}, "expected a tensor"),
    ],
)
def test_wrong_image_to_image(changed, cause):
    verdict = checks.check_image_to_image(image_to_image(**changed))
    assert verdict.passed is False and cause in verdict.message


def test_strength_the_wrong_way_round():
    right = image_to_image()
    verdict = checks.check_image_to_image(lambda *args: right(*args[:-1], 1 - args[-1]))
    assert "wrong way round" in verdict.message or "IndexError" in verdict.message


def retake(drawn=1, start=lambda frames, k: frames[k - 1].x, more=None):
    """The right answer, but for what is given."""

    def mine(predict_eps, frames, k, schedule, seed):
        numbers, x = bf.runtime.generator(seed), start(frames, k)
        for _ in range(k + drawn):
            torch.randn(x.shape, generator=numbers)
        options = {"generator": numbers, "timesteps": [frame.t for frame in frames[k:]]}
        *_, frame = bf.sample(predict_eps, x, schedule, "ddpm", **options)
        if more:
            more(predict_eps, frames, frame)
        return frame.x

    return mine


def test_retake():
    assert checks.check_retake(retake()).passed
    assert checks.check_retake(lambda predict_eps, frames, k, schedule, seed: None).passed is None


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"drawn": -100}, "begins anew"),
        ({"drawn": 0}, "one draw behind"),
        ({"start": lambda frames, k: frames[k - 1].x0}, "clean-guess"),
        ({"start": lambda frames, k: frames[k].x}, "done twice"),
        ({"start": lambda frames, k: frames[max(k - 2, 0)].x}, "Steps count from 1"),
        ({"more": lambda model, frames, new: frames[0].x.mul_(2)}, "overwritten"),
        ({"more": lambda model, frames, new: model(new.x, 1)}, "calls are enough"),
        ({"start": lambda frames, k: -frames[k].x}, "expected a tensor"),
    ],
)
def test_wrong_retakes(changed, cause):
    verdict = checks.check_retake(retake(**changed))
    assert verdict.passed is False and cause in verdict.message
