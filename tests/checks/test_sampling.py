"""The checkers of page 05 on right answers, untouched exercises and typical mistakes."""

import pytest

import boringfusion_lite as bf
from boringfusion_lite import checks


def cfg(uncond, cond, scale):
    return uncond + scale * (cond - uncond)


def ddim(x, eps, alphas_cumprod, t, t_prev):
    a = alphas_cumprod[t].item()
    b = 1.0 if t_prev is None else alphas_cumprod[t_prev].item()
    x0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
    return b**0.5 * x0 + (1 - b) ** 0.5 * eps


def run(predict_eps, x, schedule, truth, sampler, steps, spacing="trailing"):
    *_, last = bf.sample(predict_eps, x, schedule, sampler, steps, spacing=spacing)
    return (last.x - truth).flatten(1).norm(dim=1)


def duel(predict_eps, x, schedule, calls, truth):
    euler = run(predict_eps, x, schedule, truth, "euler", calls)
    return euler - run(predict_eps, x, schedule, truth, "heun", (calls + 1) // 2)


@pytest.mark.parametrize("name", ["cfg", "ddim", "duel"])
def test_right_and_untouched(name):
    check, right = getattr(checks, f"check_{name}"), globals()[name]
    verdict = check(right)
    assert verdict.passed is True, verdict
    assert check(lambda *args: None).passed is None


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (lambda u, c, g: c + g * (u - c), "changed places"),
        (lambda u, c, g: (1 + g) * c - g * u, "w is scale - 1"),
        (lambda u, c, g: g * (c - u), "add it to uncond"),
        (lambda u, c, g: u.add_(g * (c - u)), "in place"),
        (lambda u, c, g: cfg(u, c, max(g, 1)), "scale -3"),
    ],
)
def test_guidance_mistakes(wrong, cause):
    verdict = checks.check_cfg(wrong)
    assert verdict.passed is False and cause in verdict.message


def end_of(table, t_prev, end):
    return table[end] if t_prev is None else table[t_prev]


def step(x, eps, a, b):
    return b**0.5 * (x - (1 - a) ** 0.5 * eps) / a**0.5 + (1 - b) ** 0.5 * eps


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (lambda x, e, table, t, p: step(x, e, table[t], table[t - 1]), "step to t - 1"),
        (lambda x, e, table, t, p: step(x, e, table[t], end_of(table, p, 0)), "alpha_bar 1; that"),
        (lambda x, e, table, t, p: step(x, e, table[t], end_of(table, p, -1)), "is the noisiest"),
        (lambda x, e, table, t, p: step(x, e, table[t], table[t]), "all the noise back"),
        (lambda x, e, table, t, p: step(x, e, table[p or 0], table[t]), "levels of t and t_prev"),
        (
            lambda x, e, table, t, p: (
                table[p] * (x - (1 - table[t]) ** 0.5 * e) / table[t] ** 0.5 + (1 - table[p]) * e
            ),
            "root belongs",
        ),
        (lambda x, e, table, t, p: (x - (1 - table[t]) ** 0.5 * e) / table[t] ** 0.5, "clean-gue"),
    ],
)
def test_ddim_mistakes(wrong, cause):
    verdict = checks.check_ddim(wrong)
    assert verdict.passed is False and cause in verdict.message, verdict


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (
            lambda p, x, s, n, truth: (
                run(p, x, s, truth, "euler", n) - run(p, x, s, truth, "heun", n)
            ),
            "Equal steps are not equal calls",
        ),
        (
            lambda p, x, s, n, truth: (
                run(p, x, s, truth, "euler", n) - run(p, -x, s, truth, "heun", (n + 1) // 2)
            ),
            "do not both start from x",
        ),
        (
            lambda p, x, s, n, truth: (
                run(p, x, s, truth, "euler", n, "leading")
                - run(p, x, s, truth, "heun", (n + 1) // 2, "leading")
            ),
            "trailing",
        ),
        (lambda *args: -duel(*args), "sign"),
        (lambda *args: duel(*args).mean(), "own pair"),
        (
            lambda p, x, s, n, truth: (
                run(p, x, s, truth, "euler", n) - run(p, x, s, truth, "heun", n // 2)
            ),
            "as many as fit",
        ),
        (lambda p, x, s, n, truth: run(p, x, s, truth, "euler", n), "1 runs"),
    ],
)
def test_duel_mistakes(wrong, cause):
    verdict = checks.check_duel(wrong)
    assert verdict.passed is False and cause in verdict.message, verdict
