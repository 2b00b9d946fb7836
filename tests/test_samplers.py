"""Step functions, the loop and guidance: identities, promises, and what bad input gets."""

import inspect
import math
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boringfusion_lite import samplers
from boringfusion_lite.guidance import guided
from boringfusion_lite.moment import alpha_bar_of
from boringfusion_lite.multistep import adams_bashforth, weights
from boringfusion_lite.onestep import dpmpp_2s_step
from boringfusion_lite.samplers import SAMPLERS, euler_step, sample
from boringfusion_lite.schedule import Schedule, sigma_of

SD = Schedule()
TO_ONE = Schedule(set_alpha_to_one=True)
RANDOM = ["ddpm", "euler_a", "dpm2_a", "dpmpp_2s_a", "dpmpp_sde"]
BETWEEN = ["dpm2", "dpm2_a", "dpmpp_2s_a", "dpmpp_sde"]  # ask at t between two of the table
KARRAS = [name for name in SAMPLERS if name != "plms"]
steps_and_seeds = given(st.integers(1, 40), st.integers(0, 2**32 - 1))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def start(seed=0, batch=1):
    return torch.randn(batch, 4, 4, 4, generator=seeded(seed), dtype=torch.float64)


def wavy(x, t):
    """A made-up network: smooth, nonlinear, different at every t."""
    return torch.tanh(x.roll(1, -1) + 0.5 * x + 0.001 * t)


def points_at(point):
    """The exact denoiser of a data set that holds one point: its x0 is that point, always."""

    def predict_eps(x, t):
        a = SD.alpha_bar(t).item()
        return (x - a**0.5 * point) / (1 - a) ** 0.5

    return predict_eps


def last(*args, **kwargs):
    *_, frame = sample(*args, **kwargs)
    return frame


@settings(max_examples=25, deadline=None)
@steps_and_seeds
def test_ddim_without_eta_is_euler_in_sigma(steps, seed):
    pairs = zip(
        sample(wavy, start(seed), TO_ONE, "ddim", steps),
        sample(wavy, start(seed), TO_ONE, "euler", steps),
        strict=True,
    )
    for ddim, euler in pairs:
        torch.testing.assert_close(ddim.x, euler.x, rtol=1e-9, atol=1e-9)


def test_ddim_with_eta_1_is_ddpm_at_full_steps():
    ddpm = last(wavy, start(), TO_ONE, "ddpm", 1000, generator=seeded(1))
    ddim = last(wavy, start(), TO_ONE, "ddim", 1000, 1.0, seeded(1))
    torch.testing.assert_close(ddim.x, ddpm.x, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("spacing", ["leading", "karras"])
@settings(max_examples=15, deadline=None)
@steps_and_seeds
def test_ddpm_ddim_with_eta_1_and_ancestral_euler_are_one(spacing, steps, seed):
    ddpm, ddim, euler = (
        last(wavy, start(), TO_ONE, name, steps, eta, seeded(seed), spacing=spacing).x
        for name, eta in [("ddpm", 0.0), ("ddim", 1.0), ("euler_a", 0.0)]
    )
    torch.testing.assert_close(ddim, ddpm, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(euler, ddim, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("sampler", SAMPLERS)
@settings(max_examples=10, deadline=None)
@steps_and_seeds
def test_every_sampler_ends_at_the_only_point_there_is(sampler, steps, seed):
    point, tables = start(seed + 1), [TO_ONE.timesteps(steps)]
    if sampler in KARRAS:
        tables.append(TO_ONE.timesteps(steps, "karras"))
    for timesteps in tables:
        arguments = {"timesteps": timesteps, "generator": seeded(seed)}
        frame = last(points_at(point), start(seed), TO_ONE, sampler, **arguments)
        whole = sampler not in BETWEEN and not timesteps.is_floating_point()
        close = {"rtol": 1e-7, "atol": 1e-7} if whole else {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close(frame.x, point, **close)
        torch.testing.assert_close(frame.x0, point, **close)


def test_ddim_ends_at_the_alpha_the_config_names():
    point, a = start(1), SD.final_alpha_cumprod
    x = last(points_at(point), start(), SD, "ddim").x
    left = (x - a**0.5 * point) / (1 - a) ** 0.5
    assert 0.5 < left.std() < 2  # the trace of noise that SD 1.x keeps, in its own unit
    torch.testing.assert_close(last(points_at(point), start(), SD, "euler").x, point)


# ---- Gaussian data, whose best denoiser and whose way from noise to picture are known exactly ----

MEAN, SPREAD = 0.7, torch.tensor([0.3, 0.6, 1.0, 2.0], dtype=torch.float64).reshape(1, 4, 1, 1)


def gaussian(x, t):
    """Each channel is normal around MEAN with its own SPREAD."""
    a = SD.alpha_bar(t).item()
    sigma = sigma_of(a)
    return (sigma * (x / a**0.5 - MEAN) / (SPREAD**2 + sigma**2)).to(x.dtype)


def flow(x, a, b):
    """From alpha_bar a to b along dx/dsigma = eps: the distance to MEAN goes with the total spread.

    Karras et al. 2022, eq. 3 for such data, solved by hand.
    """
    now, then = ((SPREAD**2 + sigma_of(level) ** 2) ** 0.5 for level in (a, b))
    return b**0.5 * (MEAN + then / now * (x / a**0.5 - MEAN))


def error(sampler, steps, spacing):
    """How far a run has gone astray when it arrives at its last timestep."""
    frames = list(sample(gaussian, start(), SD, sampler, steps, spacing=spacing))
    first, end = (SD.alpha_bar(frames[i].t).item() for i in (0, -1))
    return (frames[-2].x - flow(start(), first, end)).norm().item() / start().norm().item()


@pytest.mark.parametrize(
    ("sampler", "low", "high"),
    [
        ("ddim", 0.9, 1.1),
        ("euler", 0.9, 1.1),
        ("heun", 1.9, 2.2),
        ("dpm2", 1.9, 2.2),
        ("dpmpp_2s", 1.9, 2.2),
        ("dpmpp_2m", 1.9, 2.2),
        ("unipc", 2.9, 3.3),
        ("lms", 2.9, 4.1),
    ],
)
def test_order_of_convergence(sampler, low, high, monkeypatch):
    """Twice the steps: half the error with a method of order 1, a quarter with order 2 ..."""
    monkeypatch.setitem(SAMPLERS, "dpmpp_2s", dpmpp_2s_step)
    errors = [error(sampler, steps, "karras") for steps in (20, 40, 80)]
    for coarse, fine in pairwise(errors):
        assert low < math.log2(coarse / fine) < high


def test_plms_is_far_better_than_ddim_on_the_same_timesteps():
    """Its timesteps are even in t, where the error falls more slowly: most of it is at the end."""
    for steps in (20, 50, 100):
        assert error("plms", steps, "leading") < error("ddim", steps, "leading") / 7
    assert math.log2(error("plms", 100, "leading") / error("plms", 200, "leading")) > 1.5


@pytest.mark.parametrize("sampler", KARRAS)
def test_mean_and_spread_of_the_data_come_out(sampler):
    """From what the data look like at the noisiest timestep; 200 steps, 2500 draws a channel."""
    a = SD.alpha_bar(999).item()
    x = torch.randn(1, 4, 50, 50, generator=seeded(1), dtype=torch.float64)
    x = a**0.5 * MEAN + (a * SPREAD**2 + 1 - a) ** 0.5 * x
    g = seeded(2)
    x = last(gaussian, x, TO_ONE, sampler, 200, generator=g, spacing="karras").x
    mean, spread = x.mean((0, 2, 3)), x.std((0, 2, 3))
    assert ((mean - MEAN).abs() < 0.1 * SPREAD.flatten()).all()  # five standard errors
    torch.testing.assert_close(spread, SPREAD.flatten(), rtol=0.075, atol=0)


# ---- parts ---------------------------------------------------------------------------------------


def test_adams_bashforth_is_that_of_the_textbooks():
    table = {1: ([1], 1), 2: ([3, -1], 2), 3: ([23, -16, 5], 12), 4: ([55, -59, 37, -9], 24)}
    for order, (numerators, denominator) in table.items():
        expected = [n / denominator for n in numerators]
        assert adams_bashforth(range(0, -order, -1)) == pytest.approx(expected)


@given(st.lists(st.floats(-3, 1), min_size=1, max_size=4, unique_by=lambda u: round(3 * u)))
def test_weights_are_exact_for_polynomials(nodes):
    """Values of u^k at the nodes, weighted, are the mean of u^k; here over 0 .. 1."""
    factors = adams_bashforth(nodes)
    for k in range(len(nodes)):
        mean = sum(f * u**k for f, u in zip(factors, nodes, strict=True))
        assert mean == pytest.approx(1 / (k + 1), abs=1e-6)
    assert weights([2.0], [1.0]) == [1.0]


@given(st.floats(1e-3, 1e3))
def test_alpha_bar_and_sigma_are_two_views(sigma):
    assert sigma_of(alpha_bar_of(sigma)) == pytest.approx(sigma, rel=1e-9)


def asked(sampler, steps, spacing="", **arguments):
    """The timesteps at which a run asks the model, in order."""
    seen = []

    def predict_eps(x, t):
        seen.append(t.item())
        return wavy(x, t)

    list(sample(predict_eps, start(), SD, sampler, steps, spacing=spacing, **arguments))
    return seen


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_calls_of_the_model(sampler, steps):
    twice = sampler in ("heun", "dpm2", "dpm2_a", "dpmpp_2s_a", "dpmpp_sde")
    more = steps - 1 if twice else int(sampler == "plms" and steps > 1)
    assert len(asked(sampler, steps)) == steps + more


def test_where_the_second_call_is():
    table = SD.timesteps(5).tolist()
    assert asked("heun", 5) == [t for pair in pairwise(table) for t in pair] + table[-1:]
    assert asked("plms", 5) == [table[0], table[1], *table[1:]]
    for name in ("dpm2_a", "dpmpp_2s_a"):  # halfway to sigma_down is sigma_prev
        assert asked(name, 5) == pytest.approx(asked("heun", 5), abs=1e-3)
    sigmas = SD.sigma[table].double()
    halfway = SD.timestep_of((sigmas[1:] * sigmas[:-1]).sqrt()).tolist()
    for name in ("dpm2", "dpmpp_sde"):
        assert asked(name, 5)[1::2] == pytest.approx(halfway, abs=1e-2)


# ---- promises ------------------------------------------------------------------------------------


def test_frames_tell_what_happened():
    x = start()
    frames = list(sample(wavy, x, SD, steps=5))
    assert [f.step for f in frames] == [1, 2, 3, 4, 5]
    assert [f.t for f in frames] == [801, 601, 401, 201, 1]
    for frame in frames:
        a = SD.alphas_cumprod[frame.t].item()
        assert torch.equal(frame.eps, wavy(x, torch.tensor(frame.t)))
        torch.testing.assert_close(a**0.5 * frame.x0 + (1 - a) ** 0.5 * frame.eps, x)
        x = frame.x


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_arguments_are_left_alone(sampler):
    x, table = start(), SD.timesteps(6)
    before = x.clone(), table.clone(), torch.get_rng_state(), SD.alphas_cumprod.clone()
    frames = list(sample(wavy, x, SD, sampler, timesteps=table, generator=seeded(0)))
    after = x, table, torch.get_rng_state(), SD.alphas_cumprod
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    kept = [f.x.clone() for f in frames]
    list(sample(wavy, frames[2].x, SD, sampler, steps=3, generator=seeded(0)))
    assert all(torch.equal(f.x, k) for f, k in zip(frames, kept, strict=True))


@pytest.mark.parametrize(("sampler", "eta"), [*((s, 0.0) for s in RANDOM), ("ddim", 0.7)])
def test_seeds_decide_the_noise(sampler, eta):
    def run(seed, dtype=torch.float64):
        x = start().to(dtype)
        return last(wavy, x, SD, sampler, eta=eta, generator=seeded(seed)).x

    assert torch.equal(run(3), run(3))
    assert not torch.allclose(run(3), run(4))
    torch.testing.assert_close(run(3, torch.float32).double(), run(3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sampler", [*RANDOM, "lms", "unipc"])
def test_a_generator_each_makes_the_pictures_that_they_would_be_alone(sampler):
    seeds, x = (5, 0, 9), start(batch=3)
    together = last(wavy, x, SD, sampler, 6, generator=[seeded(s) for s in seeds]).x
    for i, s in enumerate(seeds):
        alone = last(wavy, x[i : i + 1], SD, sampler, 6, generator=seeded(s)).x
        torch.testing.assert_close(together[i : i + 1], alone)


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name not in RANDOM])
def test_deterministic_samplers_draw_nothing(sampler):
    g = seeded(5)
    list(sample(wavy, start(), SD, sampler, generator=g))
    assert torch.equal(g.get_state(), seeded(5).get_state())


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_latents_keep_their_dtype(sampler, dtype):
    def widens(x, t):
        return wavy(x.float(), t)

    frame = last(widens, start().to(dtype), SD, sampler, steps=4)
    assert frame.x.dtype == frame.x0.dtype == dtype and frame.x.isfinite().all()


def test_a_tail_of_the_timesteps_starts_midway():
    whole = list(sample(wavy, start(), SD, "euler", steps=10))
    tail = list(sample(wavy, whole[5].x, SD, "euler", timesteps=SD.timesteps(10)[6:]))
    assert torch.equal(tail[-1].x, whole[-1].x) and tail[0].step == 1 and tail[0].t == 301
    assert list(sample(wavy, start(), SD, timesteps=[])) == []


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_any_number_of_steps_and_any_tail(sampler):
    for arguments in ({"steps": 1}, {"steps": 1000}, {"timesteps": SD.timesteps(10)[7:]}):
        frames = list(sample(wavy, start(), SD, sampler, generator=seeded(0), **arguments))
        assert len(frames) == arguments.get("steps", 3)
        assert frames[-1].x.isfinite().all() and frames[-1].x.abs().max() < 100


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_stopping_early_asks_no_more(sampler):
    whole = list(sample(wavy, start(), SD, sampler, 6, generator=seeded(0)))
    calls = []

    def counted(x, t):
        calls.append(t)
        return wavy(x, t)

    run = sample(counted, start(), SD, sampler, 6, generator=seeded(0))
    assert not calls
    begun = list(islice(run, 2))
    run.close()
    assert len(calls) in (2, 3, 4) and torch.is_grad_enabled()
    assert torch.equal(begun[1].x, whole[1].x)


# ---- Karras spacing ------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", KARRAS)
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_karras_spacing_is_a_table_of_timesteps(sampler, steps):
    table = SD.timesteps(steps, "karras")
    named = list(sample(wavy, start(), SD, sampler, steps, generator=seeded(0), spacing="karras"))
    given_ = list(sample(wavy, start(), SD, sampler, generator=seeded(0), timesteps=table))
    listed = sample(wavy, start(), SD, sampler, generator=seeded(0), timesteps=table.tolist())
    assert [f.t for f in named] == table.tolist()
    for frames in zip(named, given_, listed, strict=True):
        assert torch.equal(frames[0].x, frames[1].x) and torch.equal(frames[0].x, frames[2].x)


def test_the_model_sees_fractional_timesteps_as_float32():
    seen = []

    def predict_eps(x, t):
        seen.append((t.dtype, t.shape))
        return wavy(x, t)

    list(sample(predict_eps, start(), SD, "euler", 5, spacing="karras"))
    assert seen == [(torch.float32, ())] * 5
    assert any(t % 1 for t in asked("euler", 5, "karras"))


def test_any_spacing_of_the_schedule_will_do():
    frames = list(sample(wavy, start(), SD, "euler", 5, spacing="trailing"))
    assert [f.t for f in frames] == SD.timesteps(5, "trailing").tolist()


def test_plms_needs_even_timesteps():
    with pytest.raises(ValueError, match="evenly spaced.*'lms'"):
        sample(wavy, start(), SD, "plms", 10, spacing="karras")
    for steps in range(1, 60):  # rounding is no unevenness
        for spacing in ("leading", "trailing", "linspace"):
            sample(wavy, start(), SD, "plms", steps, spacing=spacing)


def test_model_sees_int_timesteps_and_no_gradients():
    seen = []

    def predict_eps(x, t):
        seen.append((t.dtype, t.shape, torch.is_grad_enabled()))
        return wavy(x, t)

    for _ in sample(predict_eps, start(), SD, steps=2):
        assert torch.is_grad_enabled()
    assert seen == [(torch.int64, (), False)] * 2


def test_a_step_sees_the_last_three_moments(monkeypatch):
    lengths = []

    def spy(now):
        lengths.append(len(now.past))
        assert all(a.t > b.t for a, b in pairwise([*now.past, now]))
        assert not now.past or now.past[-1].a_prev == now.a_t
        return euler_step(now)

    monkeypatch.setitem(SAMPLERS, "spy", spy)
    list(sample(wavy, start(), SD, "spy", steps=6))
    assert lengths == [0, 1, 2, 3, 3, 3]


def test_what_is_done_after_a_step_reaches_the_next(monkeypatch):
    levels = []

    def halve(x, alpha_bar):
        levels.append(alpha_bar)
        return x / 2

    plain = next(sample(wavy, start(), SD, "euler", 4)).x
    frames = list(sample(wavy, start(), SD, "euler", 4, after_step=halve))
    assert torch.equal(frames[0].x, plain / 2)
    assert levels == [SD.alpha_bar(t).item() for t in (501, 251, 1)] + [1.0]
    assert torch.equal(frames[1].eps, wavy(plain / 2, torch.tensor(501)))


def test_past_holds_no_chain_of_pasts(monkeypatch):
    nested = []

    def spy(now):
        nested.extend(earlier.past for earlier in now.past)
        return now.x

    monkeypatch.setitem(SAMPLERS, "spy", spy)
    list(sample(wavy, start(), SD, "spy", steps=6))
    assert nested and not any(nested)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sampler": "dimm"}, "'dimm'.*ddpm, ddim, plms, euler, euler_a, heun, lms.*unipc"),
        ({"steps": 0}, r"steps = 0.*1\.\.1000"),
        ({"steps": 1001}, "steps = 1001"),
        ({"steps": 2.5}, "steps = 2.5"),
        ({"eta": 1.5}, "eta = 1.5"),
        ({"eta": -0.1}, "eta = -0.1"),
        ({"eta": math.nan}, "eta = nan"),
        ({"eta": 0.5, "sampler": "euler"}, "'euler' has no eta"),
        ({"eta": 0.5, "sampler": "euler_a"}, "'euler_a' has no eta"),
        ({"timesteps": [5, 5]}, "fall"),
        ({"timesteps": [1, 2]}, "fall"),
        ({"timesteps": [1000, 3]}, "at most 999"),
        ({"timesteps": [999.5]}, "at most 999"),
        ({"timesteps": [3, -1]}, "at least 0"),
        ({"timesteps": [3, -0.5]}, "at least 0"),
        ({"timesteps": [3, math.nan]}, "at least 0"),
        ({"timesteps": [3], "spacing": "karras"}, "not both"),
        ({"spacing": "karas"}, "'karas'"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_step(arguments, words):
    with pytest.raises(ValueError, match=words):
        sample(wavy, start(), SD, **arguments)


@pytest.mark.parametrize(
    "bad", [torch.zeros(1, 4, 4, 4).long(), torch.full((1, 4, 4, 4), math.nan)]
)
def test_bad_latents_are_refused_before_the_first_step(bad):
    with pytest.raises(ValueError, match="starting latents"):
        sample(wavy, bad, SD)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_broken_prediction_is_named_by_step_and_timestep(bad):
    def breaks(x, t):
        return x * bad if t < 500 else wavy(x, t)

    run = sample(breaks, start(), SD, steps=4)
    assert [next(run).t, next(run).t] == [751, 501]
    with pytest.raises(FloatingPointError, match=r"Step 3 \(t = 251\)"):
        next(run)


@pytest.mark.parametrize(("sampler", "t"), [("heun", 251), ("dpm2", "3[0-9.]*"), ("dpm2_a", 251)])
def test_a_broken_second_prediction_is_named_too(sampler, t):
    def breaks(x, t):
        return x * math.nan if t < 500 else wavy(x, t)

    run = sample(breaks, start(), SD, sampler, 4, generator=seeded(0))
    assert next(run).t == 751
    with pytest.raises(FloatingPointError, match=rf"Step 2 \(t = {t}\)"):
        next(run)


def test_a_start_without_any_picture_is_refused():
    schedule = Schedule(rescale_betas_zero_snr=True)
    with pytest.raises(ValueError, match="alpha_bar is 0"):
        sample(wavy, start(), schedule, timesteps=[999, 500])
    assert len(list(sample(wavy, start(), schedule, timesteps=[998, 500]))) == 2


def test_numpy_and_tensor_tables_are_taken():
    for table in (np.array([500, 1]), torch.tensor([500, 1]), (500, 1), [500.0, 1.0]):
        assert len(list(sample(wavy, start(), SD, timesteps=table))) == 2


def test_a_prediction_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"\[1, 4, 4, 4\].*\[2, 4, 4, 4\]"):
        list(sample(lambda x, t: torch.cat([x, x]), start(), SD))


def test_sample_is_a_plain_function():
    assert not inspect.isgeneratorfunction(samplers.sample)


def fake_unet(x, t, context):
    """Depends on all three; rows do not mix."""
    t = torch.as_tensor(t).reshape(-1, 1, 1, 1)
    return torch.tanh(x * context.mean((1, 2)).reshape(-1, 1, 1, 1) + 0.001 * t)


def contexts(batch=2):
    return torch.randn(2, batch, 77, 8, generator=seeded(9), dtype=torch.float64)


def test_guidance_1_is_the_prompt_alone_in_one_plain_call():
    (context, negative), rows = contexts(), []

    def counted(x, t, context):
        rows.append(len(x))
        return fake_unet(x, t, context)

    x, t = start(batch=2), torch.tensor(300)
    assert torch.equal(guided(counted, context, negative, 1)(x, t), fake_unet(x, t, context))
    guided(counted, context, negative, 7.5)(x, t)
    assert rows == [2, 4]
    assert torch.equal(guided(counted, context, None, 1.0)(x, t), fake_unet(x, t, context))


@settings(max_examples=50, deadline=None)
@given(st.floats(-5, 20), st.booleans())
def test_one_batched_call_equals_two_and_both_forms_of_the_formula(scale, one_t_an_image):
    context, negative = contexts()
    x, t = start(batch=2), torch.tensor([300, 7]) if one_t_an_image else torch.tensor(300)
    cond, uncond = fake_unet(x, t, context), fake_unet(x, t, negative)
    eps = guided(fake_unet, context, negative, scale)(x, t)
    torch.testing.assert_close(eps, uncond + scale * (cond - uncond))
    w = scale - 1  # the paper's
    torch.testing.assert_close(eps, (1 + w) * cond - w * uncond)


def test_guidance_0_is_the_negative_and_one_negative_serves_all():
    context, negative = contexts()
    x, t = start(batch=2), torch.tensor(300)
    alone = fake_unet(x, t, negative[:1].expand(2, -1, -1))
    torch.testing.assert_close(guided(fake_unet, context, negative[:1], 0)(x, t), alone)
    same = guided(fake_unet, context, context, 7.5)(x, t)
    torch.testing.assert_close(same, fake_unet(x, t, context))


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_guidance_refuses_scales_that_are_no_numbers(scale):
    with pytest.raises(ValueError, match="guidance_scale"):
        guided(fake_unet, *contexts(), scale)


def test_guidance_refuses_a_negative_that_does_not_fit():
    context, negative = contexts()
    for bad in (None, negative[:, :76], negative[..., :7], negative.repeat(2, 1, 1)):
        with pytest.raises(ValueError, match="negative"):
            guided(fake_unet, context, bad, 7.5)
