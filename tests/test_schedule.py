"""The noise levels: worked values, identities, and what bad input gets."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boringfusion_lite.schedule import SPACINGS, Schedule, sigma_of

SD = Schedule()


def test_alpha_bar_of_stable_diffusion():
    expected = {0: 0.99915, 500: 0.276332, 999: 0.00466010}
    for t, value in expected.items():
        assert SD.alphas_cumprod[t].item() == pytest.approx(value, rel=1e-5)
    assert SD.alphas_cumprod.dtype == torch.float32 and SD.alphas_cumprod.shape == (1000,)


def test_the_two_linears_differ():
    assert Schedule.scaled_linear() == SD
    assert Schedule.linear().alphas_cumprod[999].item() == pytest.approx(4.036e-5, rel=1e-3)
    same_ends = Schedule(beta_schedule="linear")
    torch.testing.assert_close(same_ends.betas[[0, -1]], SD.betas[[0, -1]])
    assert SD.betas[500] < same_ends.betas[500]


@given(st.sampled_from(["linear", "scaled_linear"]), st.floats(1e-5, 0.01), st.floats(0.011, 0.03))
@settings(deadline=None)
def test_alpha_bar_always_falls_within_0_and_1(name, start, end):
    schedule = Schedule(beta_schedule=name, beta_start=start, beta_end=end)
    a = schedule.alphas_cumprod
    assert (a.diff() < 0).all() and 0 < a[-1] and a[0] < 1


def test_sigma_and_snr_are_views_of_alpha_bar():
    t = torch.arange(1000)
    a = SD.alphas_cumprod
    torch.testing.assert_close(1 / (1 + SD.sigma**2), a)
    torch.testing.assert_close(SD.snr(t), a / (1 - a), rtol=1e-5, atol=0)
    assert sigma_of(1.0) == 0 and SD.snr(3).shape == ()


def test_closed_form_noising_is_the_sum_of_single_steps():
    x0 = torch.ones((), dtype=torch.float64)
    mean, variance = x0, torch.zeros_like(x0)
    for t, beta in enumerate(SD.betas.double()):
        mean, variance = (1 - beta).sqrt() * mean, (1 - beta) * variance + beta
        if t in (0, 500, 999):
            assert mean.item() ** 2 == pytest.approx(SD.alphas_cumprod[t].item(), rel=1e-4)
            assert (1 - variance).item() == pytest.approx(SD.alphas_cumprod[t].item(), rel=1e-4)


def test_add_noise_keeps_unit_variance():
    g = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 200_000, generator=g)
    for t in (0, 250, 500, 999):
        assert SD.add_noise(x0[None], noise[None], t).var().item() == pytest.approx(1, abs=0.02)


def test_add_noise_takes_one_t_or_one_an_image():
    x0, noise = torch.randn(2, 3, 4, 5, 5)
    before = x0.clone(), noise.clone()
    together = SD.add_noise(x0, noise, torch.tensor([0, 500, 999]))
    for i, t in enumerate((0, 500, 999)):
        torch.testing.assert_close(
            together[i : i + 1], SD.add_noise(x0[i : i + 1], noise[:1] * 0 + noise[i], t)
        )
    assert torch.equal(x0, before[0]) and torch.equal(noise, before[1])
    half = SD.add_noise(x0.half(), noise.half(), torch.tensor(3))
    assert half.dtype == torch.float16


@given(st.integers(1, 1000), st.sampled_from(SPACINGS), st.integers(0, 999))
@settings(max_examples=300, deadline=None)
def test_any_table_falls_within_the_trained_timesteps(steps, spacing, offset):
    table = SD.timesteps(steps, spacing, offset)
    assert table.dtype == torch.int64 and len(table) == steps
    assert (table.diff() < 0).all() and table[0] <= 999 and table[-1] >= 0


def test_worked_tables():
    assert SD.timesteps(4).tolist() == [751, 501, 251, 1]
    assert SD.timesteps(4, "trailing").tolist() == [999, 749, 499, 249]
    assert SD.timesteps(4, "linspace").tolist() == [999, 666, 333, 0]
    assert SD.timesteps(4, offset=0).tolist() == [750, 500, 250, 0]
    assert Schedule(timestep_spacing="trailing").timesteps(2).tolist() == [999, 499]
    full = list(range(999, -1, -1))
    assert all(SD.timesteps(1000, spacing).tolist() == full for spacing in SPACINGS)


def test_config_round_trip():
    schedule = Schedule(beta_end=0.02, timestep_spacing="trailing", set_alpha_to_one=True)
    assert Schedule.from_config(json.loads(json.dumps(schedule.to_config()))) == schedule
    published = {
        "_class_name": "PNDMScheduler",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
    }
    assert Schedule.from_config(published) == SD


def test_what_comes_before_the_first_timestep():
    assert SD.final_alpha_cumprod == SD.alphas_cumprod[0].item()
    assert Schedule(set_alpha_to_one=True).final_alpha_cumprod == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"beta_schedule": "squaredcos_cap_v2"},
            "beta_schedule 'squaredcos_cap_v2'.*scaled_linear",
        ),
        ({"prediction_type": "v_prediction"}, "prediction_type 'v_prediction'.*epsilon"),
        ({"timestep_spacing": "karras"}, "timestep_spacing 'karras'.*trailing"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ({"beta_start": 0.5, "beta_end": 0.1}, "beta_start <= beta_end"),
    ],
)
def test_configs_that_would_give_wrong_pictures_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Schedule.from_config({**SD.to_config(), **change})


def test_config_without_betas_is_refused():
    with pytest.raises(ValueError, match="lacks .*beta_end"):
        Schedule.from_config({"_class_name": "PNDMScheduler"})


@pytest.mark.parametrize("steps", [0, -3, 1001, 2.5, "20", None])
def test_steps_outside_the_trained_ones_are_refused(steps):
    with pytest.raises(ValueError, match=r"1\.\.1000"):
        SD.timesteps(steps)


def test_unknown_spacing_and_negative_offset_are_refused():
    with pytest.raises(ValueError, match="leading, trailing, linspace"):
        SD.timesteps(5, "Trailing")
    with pytest.raises(ValueError, match="offset = -1"):
        SD.timesteps(5, offset=-1)


def test_add_noise_refuses_what_does_not_fit():
    x0 = torch.zeros(2, 4, 8, 8)
    for t in (-1, 1000, 1.5, torch.tensor([0, 1000])):
        with pytest.raises(ValueError, match="0 to 999"):
            SD.add_noise(x0, x0, t)
    with pytest.raises(ValueError, match="shapes"):
        SD.add_noise(x0, x0[:1], 3)
    with pytest.raises(ValueError, match="shapes"):
        SD.add_noise(x0, x0, torch.tensor([1, 2, 3]))
