"""The checkers of page 10: the right solution, the untouched stub, and every mistake they know."""

import pytest
import torch

from boringfusion_lite import checks


def named(verdict, word):
    return verdict.passed is False and word in verdict.message


@pytest.mark.parametrize("check", [checks.check_kl, checks.check_draw, checks.check_scale])
@pytest.mark.parametrize("answer", [None, ...])
def test_an_untouched_stub_is_not_attempted(check, answer):
    assert check(lambda *args: answer).passed is None


def kl(mean, logvar):
    return (mean.square() + logvar.exp() - 1 - logvar) / 2


def test_kl_right():
    assert checks.check_kl(kl).passed


@pytest.mark.parametrize(
    "mine, word",
    [
        (lambda m, v: 2 * kl(m, v), "half"),
        (lambda m, v: (m.square() + v - 1 - v.abs().log()) / 2, "log-variance for it"),
        (lambda m, v: (m.square() + (v / 2).exp() - 1 - v) / 2, "standard deviation"),
        (lambda m, v: (m.square() + (2 * v).exp() - 1 - v) / 2, "do not square"),
        (lambda m, v: -kl(m, v), "never below 0"),
        (lambda m, v: (m + v.exp() - 1 - v) / 2, "squared"),
        (lambda m, v: kl(m, v) + 0.5, "1 is missing"),
        (lambda m, v: kl(m, v).mean(), "shape"),
        (lambda m, v: 3.0, "tensor"),
        (lambda m, v: kl(m, v) + 1, "expected"),
    ],
)
def test_kl_wrong(mine, word):
    assert named(checks.check_kl(mine), word)


def draw(mean, logvar, generator=None):
    if generator is None:
        return mean
    return mean + (logvar / 2).exp() * torch.randn(mean.shape, generator=generator)


def noisy(stretch, shift=0.0):
    """Draws with another spread."""

    def mine(mean, logvar, generator):
        if generator is None:
            return mean
        return mean + shift + stretch(logvar) * torch.randn(mean.shape, generator=generator)

    return mine


def test_draw_right():
    assert checks.check_draw(draw).passed


def detached(mean, logvar, generator):
    return draw(mean, logvar.detach(), generator)


def without_path(mean, logvar, generator):
    return draw(mean, logvar, generator).detach() if generator else mean


def by_normal(mean, logvar, generator):
    if generator is None:
        return mean
    return torch.normal(mean.detach(), (logvar / 2).exp().detach(), generator=generator)


@pytest.mark.parametrize(
    "mine, word",
    [
        (noisy(lambda v: v.exp()), "variance"),
        (noisy(lambda v: torch.ones_like(v)), "as it is"),
        (noisy(lambda v: v), "log-variance is multiplied"),
        (lambda m, v, g: m, "Nothing is drawn"),
        (noisy(lambda v: (v / 2).exp(), shift=5.0), "around"),
        (lambda m, v, g: draw(m, v, g or torch.Generator().manual_seed(0)), "Without a generator"),
        (lambda m, v, g: m + (v / 2).exp() * torch.randn(m.shape) if g else m, "same seed"),
        (detached, "`logvar`"),
        (without_path, "cut"),
        (by_normal, "cut"),
        (lambda m, v, g: m[0], "shape"),
    ],
)
def test_draw_wrong(mine, word):
    assert named(checks.check_draw(mine), word)


def scaled(scale, back=None, post=True):
    """A solution with another factor, or another way back."""

    def mine(vae, images):
        factor = scale(vae.moments(images)[0])
        undo = back or (lambda z, f: z / f)

        def decode(z):
            z = undo(z, factor)
            return vae.decoder(vae.post_quant(z) if post else z)

        return lambda x: vae.moments(x)[0] * factor, decode

    return mine


def right(mean):
    return 1 / mean.std()


def test_scale_right():
    assert checks.check_scale(scaled(right)).passed


def centred(vae, images):
    mean = vae.moments(images)[0]
    return lambda x: (vae.moments(x)[0] - mean.mean() - 1) / mean.std(), lambda z: z


@pytest.mark.parametrize(
    "mine, word",
    [
        (scaled(lambda m: 1 / m.std(dim=(1, 2, 3)).mean()), "single pictures"),
        (scaled(lambda m: 1 / m.var()), "variance"),
        (scaled(lambda m: m.std()), "multiplied by the std"),
        (scaled(lambda m: 1.0), "not scaled at all"),
        (scaled(lambda m: 0.18215), "instead of 1"),
        (scaled(right, lambda z, f: z * f), "both sides"),
        (scaled(right, lambda z, f: z), "as they are"),
        (scaled(right, post=False), "post_quant"),
        (centred, "one factor"),
        (lambda vae, images: 0.5, "Two functions"),
        (lambda vae, images: (lambda x: x, lambda z: z), "shape"),
    ],
)
def test_scale_wrong(mine, word):
    assert named(checks.check_scale(mine), word)
