"""The three checkers of page 04: right answers, untouched stubs, and mistakes by their names."""

import pytest
import torch

from boringfusion_lite import checks


def untouched(*args):
    """An exercise as the page left it."""


@pytest.mark.parametrize(
    "check", [checks.check_clean_guess, checks.check_cut_skip, checks.check_error_by_t]
)
def test_an_untouched_exercise_is_not_attempted(check):
    assert check(untouched).passed is None


# ---- the clean-guess -----------------------------------------------------------------------------


def clean_guess(x, eps, alpha_bar):
    return (x - (1 - alpha_bar).sqrt() * eps) / alpha_bar.sqrt()


CLEAN_GUESSES = {
    "still shrunk": lambda x, eps, a: x - (1 - a).sqrt() * eps,
    "swapped": lambda x, eps, a: (x - a.sqrt() * eps) / (1 - a).sqrt(),
    "not those numbers": lambda x, eps, a: (x - (1 - a) * eps) / a,
    "brackets": lambda x, eps, a: x - (1 - a).sqrt() * eps / a.sqrt(),
    "not put on top": lambda x, eps, a: (x + (1 - a).sqrt() * eps) / a.sqrt(),
    "changed in place": lambda x, eps, a: x.sub_((1 - a).sqrt() * eps).div_(a.sqrt()),
}


def test_the_clean_guess():
    assert checks.check_clean_guess(clean_guess).passed is True


@pytest.mark.parametrize(("cause", "wrong"), CLEAN_GUESSES.items())
def test_wrong_clean_guesses(cause, wrong):
    verdict = checks.check_clean_guess(wrong)
    assert verdict.passed is False and cause in verdict.message


# ---- a skip cut ----------------------------------------------------------------------------------


def cutter(way="up", end="last", leave=False, mirrored=True):
    """Answers to the second exercise, right ones by default."""

    def my_cut_skip(unet, index, x, t, context):
        width = {}
        note = unet.down[index].register_forward_hook(
            lambda module, args, output: width.update(skip=output.shape[1])
        )

        def cut(module, args):
            mixed = args[0].clone()
            here = width["skip"]
            part = {"last": slice(-here, None), "first": slice(0, here), "trunk": slice(0, -here)}
            mixed[:, part[end]] = 0
            return mixed, *args[1:]

        if way == "up":
            row = unet.up[len(unet.down) - 1 - index if mirrored else index]
            hook = row.register_forward_pre_hook(cut)
        else:
            hook = unet.down[index].register_forward_hook(lambda module, args, output: 0 * output)
        eps = unet(x, t, context)
        note.remove()
        if not leave:
            hook.remove()
        return eps

    return my_cut_skip


def scorched(unet, index, x, t, context):
    unet.conv_out.weight.mul_(0.5)
    return unet(x, t, context)


CUTS = {
    "still on the UNet": cutter(leave=True),
    "zeroed, so the next row down": cutter(way="down"),
    "those belong to the trunk": cutter(end="first"),
    "The trunk was zeroed": cutter(end="trunk"),
    "No skip was cut": lambda unet, index, x, t, context: unet(x, t, context),
    "leave its weights alone": scorched,
}


def test_a_cut_skip():
    assert checks.check_cut_skip(cutter()).passed is True


def test_the_wrong_end_of_the_list():
    def my_cut_skip(unet, index, x, t, context):
        return cutter()(unet, len(unet.down) - 1 - index, x, t, context)

    verdict = checks.check_cut_skip(my_cut_skip)
    assert verdict.passed is False and "other end of the list" in verdict.message


@pytest.mark.parametrize(("cause", "wrong"), CUTS.items())
def test_wrong_cuts(cause, wrong):
    verdict = checks.check_cut_skip(wrong)
    assert verdict.passed is False and cause in verdict.message


# ---- errors by timestep --------------------------------------------------------------------------


def errors(predict, schedule, latents, context, timesteps, noise, interval=None, mix=None):
    rows = []
    for number, t in enumerate(timesteps):
        drawn = noise[0 if mix == "noise" else number]
        x = schedule.add_noise(latents, drawn, t)
        words = context.roll(1, 0) if mix == "caption" else context
        words = 0 * context if mix == "no caption" else words
        guess = predict(x, torch.tensor([t] * len(x)), words)
        each = (guess - drawn).square().flatten(1).mean(dim=1)
        half = 1.96 * each.std() / len(each) ** 0.5
        rows.append(torch.stack([each.mean(), interval(each) if interval else half]))
    return torch.stack(rows)


def averaged_over_t(*given):
    return errors(*given).mean(dim=0, keepdim=True).expand(3, 2)


def one_at_a_time(predict, schedule, latents, context, timesteps, noise):
    """The same, picture by picture and with t as a plain number."""
    rows = []
    for t, drawn in zip(timesteps, noise):
        each = torch.tensor(
            [
                (predict(schedule.add_noise(z, n, t), t, c) - n).square().mean()
                for z, n, c in zip(latents.split(1), drawn.split(1), context.split(1))
            ]
        )
        rows.append([each.mean(), 1.96 * each.std() / len(each) ** 0.5])
    return torch.tensor(rows)


ERRORS = {
    "surer by the root of B": lambda *a: errors(*a, interval=lambda e: 1.96 * e.std()),
    "1.96": lambda *a: errors(*a, interval=lambda e: e.std() / len(e) ** 0.5),
    "divide by B - 1": lambda *a: errors(
        *a, interval=lambda e: 1.96 * e.std(correction=0) / len(e) ** 0.5
    ),
    "whole width": lambda *a: errors(*a, interval=lambda e: 3.92 * e.std() / len(e) ** 0.5),
    "caption of another": lambda *a: errors(*a, mix="caption"),
    "captions were left out": lambda *a: errors(*a, mix="no caption"),
    "wrong order": lambda *a: errors(*a).flip(0),
    "with noise[i]": lambda *a: errors(*a, mix="noise"),
    "do not average over t": averaged_over_t,
}


@pytest.mark.parametrize("right", [errors, one_at_a_time])
def test_errors_by_timestep(right):
    assert checks.check_error_by_t(right).passed is True, checks.check_error_by_t(right)


@pytest.mark.parametrize(("cause", "wrong"), ERRORS.items())
def test_wrong_errors(cause, wrong):
    verdict = checks.check_error_by_t(wrong)
    assert verdict.passed is False and cause in verdict.message, verdict
