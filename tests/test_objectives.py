"""One question, three targets: noise, clean latents, v; and how much each timestep counts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from boringfusion_lite.objectives import (
    TARGETS,
    WEIGHTINGS,
    eps_error_factor,
    eps_of,
    offset_noise,
    target,
    weighting,
)
from boringfusion_lite.schedule import Schedule

SCHEDULE = Schedule()
ALPHA_BAR = SCHEDULE.alphas_cumprod


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def latents():
    t = torch.tensor([0, 100, 354, 700, 999])
    x0, noise, wrong = (draw(seed, 5, 4, 3, 3) for seed in range(3))
    return x0, noise, wrong, t, SCHEDULE.add_noise(x0, noise, t)


@pytest.mark.parametrize("kind", TARGETS)
def test_the_target_tells_the_noise(latents, kind):
    x0, noise, _, t, x = latents
    answer = target(kind, x0, noise, t, SCHEDULE)
    torch.testing.assert_close(eps_of(kind, answer, x, t, SCHEDULE), noise, rtol=1e-4, atol=1e-5)


def test_v_lies_between_noise_and_clean_latents(latents):
    x0, noise, _, t, _ = latents
    a = ALPHA_BAR[t].double().reshape(-1, 1, 1, 1)
    by_hand = a.sqrt() * noise - (1 - a).sqrt() * x0  # Salimans & Ho 2022, section 4
    v = target("v_prediction", x0, noise, t, SCHEDULE)
    torch.testing.assert_close(v, by_hand, rtol=1e-4, atol=1e-5)


@given(st.sampled_from(TARGETS), st.integers(0, 999), st.integers(0, 99))
def test_one_guess_is_wrong_by_amounts_that_differ_by_a_factor(kind, t, seed):
    """(error of the noise)^2 = factor * (error of the answer)^2, whatever the answer."""
    x0, noise, answer = (draw(seed + 100 * i, 1, 4, 2, 2) for i in range(3))
    x, t = SCHEDULE.add_noise(x0, noise, torch.tensor([t])), torch.tensor([t])
    own = (answer - target(kind, x0, noise, t, SCHEDULE)).square().mean()
    in_noise = (eps_of(kind, answer, x, t, SCHEDULE) - noise).square().mean()
    factor = eps_error_factor(kind, ALPHA_BAR[t])[0].double()
    torch.testing.assert_close(in_noise, factor * own, rtol=1e-3, atol=1e-6)


def test_three_plain_losses_are_one_loss_in_three_weightings(latents):
    """A network's noise-guess, told as x0 or v: the plain loss of each is a weighted one of eps."""
    x0, noise, guess, t, x = latents
    a = ALPHA_BAR[t].double().reshape(-1, 1, 1, 1)
    answers = {
        "epsilon": guess,
        "sample": (x - (1 - a).sqrt() * guess) / a.sqrt(),
        "v_prediction": SCHEDULE.v_from_eps(guess, x, t),
    }
    names = {"epsilon": "uniform", "sample": "as_x0", "v_prediction": "as_v"}
    error = (guess - noise).square().mean(dim=(1, 2, 3))
    for kind, answer in answers.items():
        own = (answer - target(kind, x0, noise, t, SCHEDULE)).square().mean(dim=(1, 2, 3))
        weighted = weighting(names[kind], ALPHA_BAR.double())[t] * error
        torch.testing.assert_close(weighted / weighted[2], own / own[2], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weights_have_mean_one_and_nothing_negative(name):
    weights = weighting(name, ALPHA_BAR)
    assert weights.shape == ALPHA_BAR.shape and (weights > 0).all()
    assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_min_snr_is_the_published_formula():
    """min(SNR, gamma) / SNR for eps; / (SNR + 1) for v, as in the paper's code."""
    snr = ALPHA_BAR / (1 - ALPHA_BAR)
    ours, published = weighting("min_snr", ALPHA_BAR), snr.clamp(max=5) / snr
    torch.testing.assert_close(ours, published / published.mean())
    for_v = snr.clamp(max=5) / (snr + 1)
    torch.testing.assert_close(published * eps_error_factor("v_prediction", ALPHA_BAR), for_v)


def test_min_snr_as_diffusers_computes_snr():
    training_utils = pytest.importorskip("diffusers.training_utils")
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    snr = training_utils.compute_snr(theirs, torch.arange(1000))
    weights = snr.clamp(max=5) / snr
    torch.testing.assert_close(
        weighting("min_snr", ALPHA_BAR), weights / weights.mean(), rtol=1e-3, atol=1e-5
    )


def test_clipped_v_is_that_of_v_until_it_ends():
    ours, v = weighting("clipped_v", ALPHA_BAR), weighting("as_v", ALPHA_BAR)
    free = 1 / ALPHA_BAR < 10
    ratio = ours / v
    torch.testing.assert_close(ratio[free], ratio[:1].expand(int(free.sum())))
    assert (ours[~free] == ours.max()).all() and (~free).any()


def test_offset_noise_moves_whole_channels():
    noise, g = torch.zeros(500, 4, 8, 8), torch.Generator().manual_seed(0)
    moved = offset_noise(noise, 0.1, g)
    assert moved.std(dim=(2, 3)).max() < 1e-6  # all cells of a channel alike
    assert moved[:, :, 0, 0].std() == pytest.approx(0.1, rel=0.1)
    assert not noise.any()
    state = g.get_state()
    assert offset_noise(noise, 0.0, g) is noise and torch.equal(g.get_state(), state)


def test_unknown_names_are_told():
    x = torch.zeros(1, 4, 2, 2)
    with pytest.raises(ValueError, match="'noise' is not known. Choose from: epsilon, sample"):
        target("noise", x, x, torch.tensor([0]), SCHEDULE)
    with pytest.raises(ValueError, match="'snr' is not known"):
        weighting("snr", ALPHA_BAR)
