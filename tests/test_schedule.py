"""The noise levels: worked values, identities, and what bad input gets."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boringfusion_lite.betas import BETAS
from boringfusion_lite.schedule import SPACINGS, Schedule, sigma_of

SD = Schedule()
SD_CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ALL = {
    "scaled_linear": SD,
    "linear": Schedule.linear(),
    "cosine": Schedule.cosine(),
    "sigmoid": Schedule.sigmoid(),
    "zero SNR": Schedule.zero_terminal_snr(),
}


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers")


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


@given(st.sampled_from(sorted(BETAS)), st.floats(1e-5, 0.01), st.floats(0.011, 0.03), st.booleans())
@settings(deadline=None)
def test_alpha_bar_always_falls_within_0_and_1(name, start, end, rescaled):
    ends = {"beta_start": start, "beta_end": end}
    schedule = Schedule(beta_schedule=name, rescale_betas_zero_snr=rescaled, **ends)
    a = schedule.alphas_cumprod
    assert (a.diff() < 0).all() and a[0] < 1
    assert a[-1] == 0 if rescaled else a[-1] > 0


def test_cosine_follows_its_formula_up_to_the_last_beta():
    time = torch.linspace(0, 1, 1001, dtype=torch.float64)[1:]
    squared = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
    expected = squared / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    a = Schedule.cosine().alphas_cumprod.double()
    torch.testing.assert_close(a[:-1], expected[:-1], rtol=1e-3, atol=1e-7)
    assert Schedule.cosine().betas.max().item() == pytest.approx(0.999)  # else nothing were left


def test_sigmoid_betas_rise_from_start_to_end_and_are_halfway_in_the_middle():
    betas = Schedule.sigmoid(0.001, 0.02).betas
    assert 0.001 < betas[0] < 0.0011 and 0.0199 < betas[-1] < 0.02
    assert betas[499:501].mean().item() == pytest.approx(0.0105)
    assert (betas.diff() > 0).all()


def test_rescaling_ends_in_nothing_and_begins_as_before():
    bent = ALL["zero SNR"]
    assert bent.alphas_cumprod[999] == 0 and bent.betas[999] == 1
    assert bent.snr(999) == 0 and bent.sigma[999] == math.inf
    torch.testing.assert_close(bent.alphas_cumprod[0], SD.alphas_cumprod[0], rtol=1e-6, atol=0)
    assert (bent.alphas_cumprod[1:] < SD.alphas_cumprod[1:]).all()


def test_rescaling_is_a_straight_line_in_the_root():
    root, bent = SD.alphas_cumprod.double().sqrt(), ALL["zero SNR"].alphas_cumprod.double().sqrt()
    slope = root[0] / (root[0] - root[-1])
    torch.testing.assert_close(bent, slope * (root - root[-1]), rtol=1e-3, atol=2e-5)


@pytest.mark.reference
@pytest.mark.parametrize("rescaled", [False, True])
@pytest.mark.parametrize("name", sorted(BETAS))
def test_betas_are_those_of_diffusers_to_the_bit(diffusers, name, rescaled):
    fields = {"beta_schedule": name, "rescale_betas_zero_snr": rescaled}
    fields |= {"beta_start": 0.001, "beta_end": 0.015}
    theirs, ours = diffusers.DDPMScheduler(**fields), Schedule(**fields)
    assert torch.equal(ours.betas, theirs.betas)
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)


@pytest.mark.reference
@pytest.mark.parametrize("name", ALL)
def test_configs_of_all_schedules_pass_both_ways(diffusers, name):
    config = ALL[name].to_config()
    opened = getattr(diffusers, config["_class_name"]).from_config(config)
    assert torch.equal(opened.betas, ALL[name].betas)
    assert Schedule.from_config(dict(opened.config)) == ALL[name]


def test_sigma_and_snr_are_views_of_alpha_bar():
    t = torch.arange(1000)
    a = SD.alphas_cumprod
    torch.testing.assert_close(1 / (1 + SD.sigma**2), a)
    torch.testing.assert_close(SD.snr(t), a / (1 - a), rtol=1e-5, atol=0)
    assert sigma_of(1.0) == 0 and SD.snr(3).shape == ()


def test_alpha_bar_at_whole_timesteps_is_the_table_to_the_bit():
    t = torch.arange(1000)
    assert torch.equal(SD.alpha_bar(t), SD.alphas_cumprod)
    assert torch.equal(SD.alpha_bar(t.double()), SD.alphas_cumprod.double())
    assert SD.alpha_bar(7).dtype == torch.float32 and SD.alpha_bar(7.0).dtype == torch.float64
    assert SD.alpha_bar(7.0).shape == () and SD.alpha_bar(999.0) == SD.alpha_bar(999)


@given(st.floats(0, 999), st.sampled_from(sorted(ALL.keys() - {"zero SNR"})))
@settings(deadline=None)
def test_alpha_bar_between_timesteps_is_a_line_in_log_sigma(t, name):
    schedule, below = ALL[name], math.floor(t)
    low, high = (sigma_of(schedule.alpha_bar(float(n))).log() for n in (below, math.ceil(t)))
    log_sigma = sigma_of(schedule.alpha_bar(t)).log().item()
    assert log_sigma == pytest.approx((low + (t - below) * (high - low)).item(), abs=1e-6)


@given(st.floats(0, 999), st.sampled_from(["scaled_linear", "linear", "sigmoid"]))
@settings(deadline=None)
def test_timestep_of_is_the_inverse_of_sigma(t, name):
    sigma = sigma_of(ALL[name].alpha_bar(t))
    assert ALL[name].timestep_of(sigma).item() == pytest.approx(t, abs=1e-6)


def test_timestep_of_stays_in_the_table():
    assert SD.timestep_of(1.0).item() == pytest.approx(353.89, abs=0.01)
    assert SD.timestep_of(torch.tensor([0.0, 1e9])).tolist() == [0, 999]
    assert SD.timestep_of(torch.ones(2, 3)).shape == (2, 3)


@pytest.mark.parametrize("t", [-1, 1000, -0.001, 999.001, math.nan, torch.tensor([0.5, 1000])])
def test_alpha_bar_outside_the_table_is_refused(t):
    with pytest.raises(ValueError, match="0 to 999"):
        SD.alpha_bar(t)


def test_where_signal_and_noise_are_even():
    even = {name: round(ALL[name].timestep_of(1.0).item()) for name in ALL}
    assert (even["linear"], even["scaled_linear"], even["cosine"]) == (258, 354, 495)


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
    between = SD.add_noise(x0, noise, 500.5)
    assert (between - x0).norm() > (SD.add_noise(x0, noise, 500) - x0).norm()
    assert between.dtype == torch.float32
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


STEPS = (1, 2, 3, 10, 20, 50)


@given(st.integers(1, 1000), st.sampled_from(["scaled_linear", "linear", "cosine"]))
@settings(deadline=None)
def test_karras_timesteps_fall_from_end_to_end(steps, name):
    table = ALL[name].timesteps(steps, "karras")
    assert table.dtype == torch.float64 and len(table) == steps
    assert (table.diff() < 0).all() and table[0] == 999 and (steps == 1 or table[-1] == 0)


def test_roots_of_karras_sigmas_are_evenly_spaced():
    """Karras et al. 2022, eq. 5, with rho = 7."""
    roots = sigma_of(SD.alpha_bar(SD.timesteps(10, "karras"))) ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(9))


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("beta_schedule", ["scaled_linear", "linear"])
def test_karras_tables_of_diffusers(diffusers, name, steps, beta_schedule):
    """Their solver rounds its timesteps, not its sigmas; their Euler starts a single step at 0."""
    config = SD_CONFIG | {"beta_schedule": beta_schedule}
    theirs = getattr(diffusers, name)(**config, use_karras_sigmas=True, timestep_spacing="linspace")
    theirs.set_timesteps(steps)
    schedule = Schedule.from_config(config)
    table = schedule.timesteps(steps, "karras")
    if (name, steps) == ("EulerDiscreteScheduler", 1):
        assert theirs.timesteps.tolist() == [0] and table.tolist() == [999]
        return
    sigmas = sigma_of(schedule.alpha_bar(table))
    torch.testing.assert_close(sigmas, theirs.sigmas[:-1].double(), rtol=1e-6, atol=0)
    whole = name.startswith("DPM")
    compared = table.round() if whole else table
    torch.testing.assert_close(compared, theirs.timesteps.double(), rtol=0, atol=2e-4)


def test_no_run_starts_where_nothing_of_the_picture_is_left():
    bent = ALL["zero SNR"]
    assert bent.timesteps(20)[0] == 951  # leading, as in SD 1.x, begins below
    for steps, spacing in ((20, "trailing"), (20, "linspace"), (20, "karras"), (1000, "leading")):
        with pytest.raises(ValueError, match="alpha_bar is 0.*leading"):
            bent.timesteps(steps, spacing)
    assert bent.timesteps(1, "linspace").tolist() == [0]
    x0, noise = torch.randn(2, 1, 4, 8, 8)
    assert torch.equal(bent.add_noise(x0, noise, 999), noise)  # training may go there
    assert bent.alpha_bar(998.5) == 0


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
        ({"beta_schedule": "laplace"}, "beta_schedule 'laplace'.*scaled_linear"),
        ({"prediction_type": "sample"}, "prediction_type 'sample'.*epsilon, v_prediction"),
        ({"timestep_spacing": "karras"}, "timestep_spacing 'karras'.*trailing"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas"),
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
    with pytest.raises(ValueError, match="leading, trailing, linspace, karras"):
        SD.timesteps(5, "Trailing")
    with pytest.raises(ValueError, match="offset = -1"):
        SD.timesteps(5, offset=-1)


def test_add_noise_refuses_what_does_not_fit():
    x0 = torch.zeros(2, 4, 8, 8)
    for t in (-1, 1000, 999.5, torch.tensor([0, 1000])):
        with pytest.raises(ValueError, match="0 to 999"):
            SD.add_noise(x0, x0, t)
    with pytest.raises(ValueError, match="shapes"):
        SD.add_noise(x0, x0[:1], 3)
    with pytest.raises(ValueError, match="shapes"):
        SD.add_noise(x0, x0, torch.tensor([1, 2, 3]))
