"""The exact denoiser: Bayes by hand, the slope of the log-density, where sampling ends."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boringfusion_lite.ideal import ideal_denoiser, ideal_eps
from boringfusion_lite.samplers import SAMPLERS, sample
from boringfusion_lite.schedule import Schedule

SD = Schedule(set_alpha_to_one=True)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def by_bayes(x, points, a):
    """One x at a time, with the densities themselves: p(point | x) = p(x | point) / sum of them."""
    rows = []
    for row in x:
        noises = [(row - a**0.5 * point) / (1 - a) ** 0.5 for point in points]
        densities = [math.exp(-float(n.square().sum()) / 2) for n in noises]
        total = sum(densities)
        rows.append(sum(d / total * n for d, n in zip(densities, noises)))
    return torch.stack(rows)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9), st.sampled_from([(2,), (3,), (2, 2, 2)]), st.floats(0, 0.95), st.integers(0)
)
def test_it_is_bayes_rule(count, shape, a, seed):
    points, x = draw(count, *shape, seed=seed % 2**32), draw(5, *shape, seed=seed % 2**31 + 1)
    torch.testing.assert_close(ideal_eps(x, points, a), by_bayes(x, points, a))


@pytest.mark.parametrize("t", [0, 50, 400, 999])
def test_it_is_the_slope_of_the_log_density(t):
    """eps = -sqrt(1 - a) * d/dx log p(x): Vincent 2011; Song et al. 2021."""
    a = SD.alphas_cumprod[t].item()
    points = draw(7, 2)
    x = (a**0.5 * draw(6, 2) + (1 - a) ** 0.5 * draw(6, 2, seed=1)).requires_grad_()
    squares = (x[:, None] - a**0.5 * points).square().sum(-1)
    torch.logsumexp(-squares / (2 * (1 - a)), dim=1).sum().backward()
    eps = ideal_denoiser(points, SD)(x.detach(), t)
    torch.testing.assert_close(eps, -((1 - a) ** 0.5) * x.grad)


@pytest.mark.parametrize("a", [1 - 1e-3, 1 - 1e-6, 1 - 1e-12])
def test_float32_holds_at_hardly_any_noise(a):
    """Every density is 0 in float32 here; far from all points as well as on one of them."""
    points = draw(50, 2, dtype=torch.float32)
    x = torch.cat([points[:3], points[:3] + 0.3, torch.tensor([[40.0, -40.0]])])
    eps = ideal_eps(x, points, a)
    assert eps.isfinite().all()
    x0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
    nearest = points[torch.cdist(x, a**0.5 * points).argmin(1)]
    if a > 0.9999:
        torch.testing.assert_close(x0, nearest, rtol=1e-4, atol=1e-4)
    wide = ideal_eps(x.double(), points.double(), a)
    torch.testing.assert_close(eps.double(), wide, rtol=1e-3, atol=1e-3 / (1 - a) ** 0.5 * 1e-3)


def test_all_noise_means_the_mean_of_the_data():
    points, x = draw(9, 2) + 3, draw(4, 2, seed=1)
    a = 1e-12
    x0 = (x - (1 - a) ** 0.5 * ideal_eps(x, points, a)) / a**0.5
    torch.testing.assert_close(x0, points.mean(0).expand(4, 2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ideal_eps(x, points, 0.0), x)


@pytest.mark.parametrize("a", [0.1, 0.5, 0.9])
def test_many_points_of_a_gaussian_give_its_closed_form(a):
    """Data N(m, s^2): E[noise | x] = sqrt(1 - a) (x - sqrt(a) m) / (a s^2 + 1 - a)."""
    m, s = 1.5, 0.5
    points = m + s * draw(40_000, 1)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None] * (a * s**2 + 1 - a) ** 0.5
    x = x + a**0.5 * m
    exact = (1 - a) ** 0.5 * (x - a**0.5 * m) / (a * s**2 + 1 - a)
    torch.testing.assert_close(ideal_eps(x, points, a), exact, rtol=0, atol=0.06)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sampling_ends_at_the_data(sampler):
    points = draw(12, 2, dtype=torch.float32)
    x = draw(100, 2, seed=1, dtype=torch.float32)
    run = sample(ideal_denoiser(points, SD), x, SD, sampler, steps=60, generator=seeded(2))
    *_, last = run
    apart = torch.cdist(last.x, points)
    assert (apart.min(1).values < 0.1).float().mean() > 0.85
    assert len(apart.argmin(1).unique()) >= 9  # and not all at one point


def test_latents_and_half_precision():
    points = draw(5, 4, 8, 8, dtype=torch.float32)
    x = draw(2, 4, 8, 8, seed=1, dtype=torch.float32)
    predict = ideal_denoiser(points, SD)
    eps = predict(x.half(), torch.tensor(500))
    assert eps.dtype == torch.float16 and eps.shape == x.shape
    torch.testing.assert_close(eps.float(), predict(x, 500), rtol=5e-3, atol=5e-3)


def test_arguments_are_left_alone():
    points, x = draw(5, 2), draw(3, 2, seed=1)
    before = points.clone(), x.clone()
    ideal_denoiser(points, SD)(x, 10)
    assert torch.equal(points, before[0]) and torch.equal(x, before[1])


@pytest.mark.parametrize(
    "points", [torch.zeros(0, 2), torch.zeros(3), torch.zeros(3, 2).long()], ids=str
)
def test_points_that_are_none_are_refused(points):
    with pytest.raises(ValueError, match="at least one point"):
        ideal_denoiser(points, SD)


def test_other_bad_input_is_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        ideal_denoiser(torch.tensor([[math.nan, 0.0]]), SD)
    predict = ideal_denoiser(draw(3, 2), SD)
    with pytest.raises(ValueError, match="must agree"):
        predict(draw(3, 3), 5)
    for t in (-1, 1000):
        with pytest.raises(ValueError, match="from 0 to 999"):
            predict(draw(3, 2), t)
