"""The checkers of page 03 on right answers and on typical wrong ones."""

import pytest
import torch

from boringfusion_lite import checks


def untouched(*args):
    return None


def product(betas):
    return torch.cumprod(1 - betas, dim=0)


def right_add_noise(x0, noise, betas, t):
    a = product(betas)[t]
    return a**0.5 * x0 + (1 - a) ** 0.5 * noise


def no_root(x0, noise, betas, t):
    a = product(betas)[t]
    return a * x0 + (1 - a) * noise


def single_step(x0, noise, betas, t):
    return (1 - betas[t]) ** 0.5 * x0 + betas[t] ** 0.5 * noise


def one_too_few(x0, noise, betas, t):
    a = torch.prod(1 - betas[:t])
    return a**0.5 * x0 + (1 - a) ** 0.5 * noise


def swapped(x0, noise, betas, t):
    return right_add_noise(noise, x0, betas, t)


def weights_add_up(x0, noise, betas, t):
    a = product(betas)[t] ** 0.5
    return a * x0 + (1 - a) * noise


def in_place(x0, noise, betas, t):
    a = product(betas)[t]
    return x0.mul_(a**0.5) + (1 - a) ** 0.5 * noise


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (no_root, "get its root"),
        (single_step, "product of all"),
        (one_too_few, "of t itself"),
        (swapped, "each other"),
        (weights_add_up, "squares"),
        (in_place, "in place"),
    ],
)
def test_wrong_noise_is_explained(wrong, words):
    verdict = checks.check_add_noise(wrong)
    assert verdict.passed is False and words in verdict.message


def nearest(table, value=0.5):
    return int((table - value).abs().argmin())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda betas: nearest(product(betas).sqrt()), "root of alpha_bar is 0.5"),
        (lambda betas: nearest(1 - betas), "without the product"),
        (lambda betas: nearest(product(betas)) + 1, "count from 0"),
        (lambda betas: int((product(betas) > 0.5).sum()) - 1, "nearer"),
        (lambda betas: product(betas), "one whole number"),
    ],
)
def test_wrong_even_timesteps_are_explained(wrong, words):
    verdict = checks.check_even_timestep(wrong)
    assert verdict.passed is False and words in verdict.message


def right_rescale(betas):
    root = product(betas).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return back_to_betas(root**2)


def back_to_betas(a):
    return 1 - a / torch.cat([torch.ones(1), a[:-1]])


def moved_alpha_bar(betas):
    a = product(betas)
    return back_to_betas((a - a[-1]) * a[0] / (a[0] - a[-1]))


def not_stretched(betas):
    root = product(betas).sqrt()
    return back_to_betas((root - root[-1]) ** 2)


def no_betas(betas):
    return product(right_rescale(betas))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (moved_alpha_bar, "its root that goes down"),
        (not_stretched, "stretch"),
        (no_betas, "not betas"),
        (lambda betas: product(right_rescale(betas)).sqrt(), "roots of alpha_bar, not betas"),
        (lambda betas: betas, "expected"),
        (lambda betas: betas[1:], "betas come out"),
    ],
)
def test_wrong_rescaling_is_explained(wrong, words):
    verdict = checks.check_rescale(wrong)
    assert verdict.passed is False and words in verdict.message
    assert "alpha_bar" in verdict.message or "beta" in verdict.message


def test_right_and_untouched_answers():
    rows = [
        (checks.check_add_noise, right_add_noise),
        (checks.check_even_timestep, lambda betas: nearest(product(betas))),
        (checks.check_even_timestep, lambda betas: (product(betas) - 0.5).abs().argmin()),
        (checks.check_rescale, right_rescale),
    ]
    for check, right in rows:
        assert check(right).passed is True, check(right)
        assert check(untouched).passed is None
