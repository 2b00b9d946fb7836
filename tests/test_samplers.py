"""Step functions, the loop and guidance: identities, promises, and what bad input gets."""

import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boringfusion_lite import samplers
from boringfusion_lite.guidance import guided
from boringfusion_lite.samplers import SAMPLERS, euler_step, sample
from boringfusion_lite.schedule import Schedule, sigma_of

SD = Schedule()
TO_ONE = Schedule(set_alpha_to_one=True)
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
        a = SD.alphas_cumprod[t].item()
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


@pytest.mark.parametrize("sampler", SAMPLERS)
@settings(max_examples=10, deadline=None)
@steps_and_seeds
def test_every_sampler_ends_at_the_only_point_there_is(sampler, steps, seed):
    point = start(seed + 1)
    frame = last(points_at(point), start(seed), TO_ONE, sampler, steps, generator=seeded(seed))
    torch.testing.assert_close(frame.x, point, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(frame.x0, point, rtol=1e-7, atol=1e-7)


def test_ddim_ends_at_the_alpha_the_config_names():
    point, a = start(1), SD.final_alpha_cumprod
    x = last(points_at(point), start(), SD, "ddim").x
    left = (x - a**0.5 * point) / (1 - a) ** 0.5
    assert 0.5 < left.std() < 2  # the trace of noise that SD 1.x keeps, in its own unit
    torch.testing.assert_close(last(points_at(point), start(), SD, "euler").x, point)


def test_second_order_beats_first_order():
    fine = last(wavy, start(), TO_ONE, "euler", timesteps=TO_ONE.timesteps(1000)).x

    def error(sampler, steps):
        table = TO_ONE.timesteps(steps, "linspace")
        return (last(wavy, start(), TO_ONE, sampler, timesteps=table).x - fine).norm().item()

    assert error("dpmpp_2m", 20) < error("euler", 20) / 4


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


@pytest.mark.parametrize(("sampler", "eta"), [("ddpm", 0.0), ("ddim", 0.7)])
def test_seeds_decide_the_noise(sampler, eta):
    def run(seed, dtype=torch.float64):
        x = start().to(dtype)
        return last(wavy, x, SD, sampler, eta=eta, generator=seeded(seed)).x

    assert torch.equal(run(3), run(3))
    assert not torch.allclose(run(3), run(4))
    torch.testing.assert_close(run(3, torch.float32).double(), run(3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddim", "euler", "dpmpp_2m"])
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


def test_model_sees_int_timesteps_and_no_gradients():
    seen = []

    def predict_eps(x, t):
        seen.append((t.dtype, t.shape, torch.is_grad_enabled()))
        return wavy(x, t)

    for _ in sample(predict_eps, start(), SD, steps=2):
        assert torch.is_grad_enabled()
    assert seen == [(torch.int64, (), False)] * 2


def test_contract_carries_methods_of_several_calls_and_memories(monkeypatch):
    """Heun's method, written as a reader would, needs no second loop."""
    memories = []

    def heun_step(now):
        memories.append(len(now.past))
        ahead = euler_step(now)
        if now.t_prev is None:
            return ahead
        slope = (now.eps + now.predict(ahead, now.t_prev)) / 2
        x = now.x / now.a_t**0.5 + (sigma_of(now.a_prev) - sigma_of(now.a_t)) * slope
        return x * now.a_prev**0.5

    calls = []

    def counted(x, t):
        calls.append(t.item())
        return wavy(x, t)

    monkeypatch.setitem(SAMPLERS, "heun", heun_step)
    fine = last(wavy, start(), TO_ONE, "euler", steps=1000).x
    heun = last(counted, start(), TO_ONE, "heun", timesteps=TO_ONE.timesteps(20, "linspace")).x
    plain = last(wavy, start(), TO_ONE, "euler", timesteps=TO_ONE.timesteps(20, "linspace")).x
    assert len(calls) == 39 and memories[:5] == [0, 1, 2, 3, 3]
    assert (heun - fine).norm() < (plain - fine).norm() / 4


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
        ({"sampler": "dimm"}, "'dimm'.*ddpm, ddim, euler, dpmpp_2m"),
        ({"steps": 0}, r"steps = 0.*1\.\.1000"),
        ({"steps": 1001}, "steps = 1001"),
        ({"steps": 2.5}, "steps = 2.5"),
        ({"eta": 1.5}, "eta = 1.5"),
        ({"eta": -0.1}, "eta = -0.1"),
        ({"eta": math.nan}, "eta = nan"),
        ({"eta": 0.5, "sampler": "euler"}, "'euler' has no eta"),
        ({"timesteps": [5, 5]}, "falling"),
        ({"timesteps": [1, 2]}, "falling"),
        ({"timesteps": [1000, 3]}, "below 1000"),
        ({"timesteps": [3, -1]}, "to 0"),
        ({"timesteps": [3.5]}, "whole"),
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
