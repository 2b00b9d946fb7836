"""Guidance's relatives and scales of several pictures; the basics are in test_samplers.py."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boringfusion_lite.guidance import guided, rescaled


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def fake_unet(x, t, context):
    """Depends on all three; rows do not mix."""
    t = torch.as_tensor(t).reshape(-1, 1, 1, 1)
    return torch.tanh(x * context.mean((1, 2)).reshape(-1, 1, 1, 1) + 0.001 * t)


CONTEXT, NEGATIVE = draw(2, 77, 8, seed=1), draw(2, 77, 8, seed=2)
X, T = draw(2, 4, 4, 4), torch.tensor(300)


class Counted:
    """fake_unet, and the rows that each call had."""

    def __init__(self):
        self.rows = []

    def __call__(self, x, t, context):
        self.rows.append(len(x))
        return fake_unet(x, t, context)


def test_off_is_identical_to_the_bit():
    for dtype in (torch.float16, torch.float32):
        x, context, negative = X.to(dtype), CONTEXT.to(dtype), NEGATIVE.to(dtype)
        uncond, cond = fake_unet(x, T, negative), fake_unet(x, T, context)
        plain = uncond + 7.5 * (cond - uncond)
        options = ({}, {"rescale": 0.0}, {"interval": None}, {"interval": (0, 999)})
        for option in options:
            assert torch.equal(guided(fake_unet, context, negative, 7.5, **option)(x, T), plain)


@settings(max_examples=30, deadline=None)
@given(st.floats(1.5, 20), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_rescale_equals_diffusers(scale, amount, seed):
    module = pytest.importorskip("diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion")
    x = draw(2, 4, 4, 4, seed=seed)
    cond = fake_unet(x, T, CONTEXT)
    plain = guided(fake_unet, CONTEXT, NEGATIVE, scale)(x, T)
    theirs = module.rescale_noise_cfg(plain, cond, amount)
    ours = guided(fake_unet, CONTEXT, NEGATIVE, scale, rescale=amount)(x, T)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_rescaled_to_the_full_has_the_spread_of_the_prompt_alone_picture_by_picture():
    cond = draw(3, 4, 4, 4, seed=3) * torch.tensor([1.0, 2.0, 3.0]).reshape(-1, 1, 1, 1)
    eps = 5 * draw(3, 4, 4, 4, seed=4)
    axes = (1, 2, 3)
    torch.testing.assert_close(rescaled(eps, cond, 1.0).std(axes), cond.std(axes))
    half = rescaled(eps, cond, 0.5)
    torch.testing.assert_close(half.std(axes), (eps.std(axes) + cond.std(axes)) / 2)
    assert torch.equal(rescaled(eps, cond, 0.0), eps)


@pytest.mark.parametrize(("t", "on"), [(199, 0), (200, 1), (500, 1), (800, 1), (801, 0)])
def test_interval_guides_within_and_saves_the_second_half_outside(t, on):
    t, unet = torch.tensor(t), Counted()
    eps = guided(unet, CONTEXT, NEGATIVE, 7.5, interval=(200, 800))(X, t)
    scale = 7.5 if on else 1.0
    assert torch.equal(eps, guided(fake_unet, CONTEXT, NEGATIVE, scale)(X, t))
    assert unet.rows == [4 if on else 2]


def test_interval_decides_for_each_picture_where_timesteps_differ():
    t = torch.tensor([100, 500])
    eps = guided(fake_unet, CONTEXT, NEGATIVE, 7.5, interval=(200, 800))(X, t)
    torch.testing.assert_close(eps[0], fake_unet(X, t, CONTEXT)[0])
    assert torch.equal(eps[1], guided(fake_unet, CONTEXT, NEGATIVE, 7.5)(X, t)[1])


def test_a_timestep_between_two_is_one_too():
    predict = guided(fake_unet, CONTEXT, NEGATIVE, 7.5, interval=(200, 800))
    assert torch.equal(predict(X, torch.tensor(199.5)), fake_unet(X, 199.5, CONTEXT))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 20), min_size=2, max_size=2))
def test_one_scale_for_each_picture(scales):
    together = guided(fake_unet, CONTEXT, NEGATIVE, scales)(X, T)
    for number, scale in enumerate(scales):
        alone = guided(fake_unet, CONTEXT, NEGATIVE, scale)(X, T)[number]
        torch.testing.assert_close(together[number], alone, rtol=1e-5, atol=1e-5)


def test_several_scales_keep_the_dtype():
    x, context, negative = (part.half() for part in (X, CONTEXT, NEGATIVE))
    eps = guided(lambda *args: fake_unet(*args).half(), context, negative, [1, 7.5])(x, T)
    assert eps.dtype == torch.float16


@settings(max_examples=30, deadline=None)
@given(st.floats(-5, 20))
def test_swapped_prompts_and_1_minus_scale_are_the_same(scale):
    one = guided(fake_unet, CONTEXT, NEGATIVE, scale)(X, T)
    other = guided(fake_unet, NEGATIVE, CONTEXT, 1 - scale)(X, T)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rescale": -0.1}, "guidance_rescale = -0.1: choose from 0"),
        ({"rescale": 1.1}, "guidance_rescale = 1.1"),
        ({"rescale": math.nan}, "guidance_rescale = nan"),
        ({"interval": (800, 200)}, "guidance_interval = .*low <= high"),
        ({"interval": (math.nan, 200)}, "guidance_interval"),
        ({"interval": (1, 2, 3)}, "guidance_interval"),
        ({"scale": [7.5]}, "1 numbers for 2 pictures"),
        ({"scale": [7.5, math.inf]}, "guidance_scale = inf"),
        ({"scale": "7.5"}, "guidance_scale = 7.5"),
    ],
)
def test_bad_options_are_refused_before_the_first_call(options, words):
    with pytest.raises(ValueError, match=words):
        guided(fake_unet, CONTEXT, NEGATIVE, **{"scale": 7.5} | options)
    if "scale" not in options:  # also where guidance is off
        with pytest.raises(ValueError, match=words):
            guided(fake_unet, CONTEXT, None, 1, **options)


def test_a_whole_model_takes_the_relatives_as_options(tiny_sd):
    def latents(**options):
        *_, last = tiny_sd.sample("a red house", steps=4, **options)
        return last.x

    plain = latents()
    assert torch.equal(latents(guidance_rescale=0.0, guidance_interval=None), plain)
    assert not torch.allclose(latents(guidance_rescale=0.7), plain)
    assert not torch.allclose(latents(guidance_interval=(300, 600)), plain)
    outside = latents(guidance_interval=(998, 999))
    torch.testing.assert_close(outside, latents(guidance_scale=1))


@pytest.mark.parametrize(("scale", "mixes"), [(0, False), (1, False), (1.5, True)])
def test_diffusers_switches_guidance_off_at_1_and_below(scale, mixes):
    """Page 05 warns of it: 0 means the prompt alone there, and no prompt at all here."""
    module = pytest.importorskip("diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion")
    unet = SimpleNamespace(config=SimpleNamespace(time_cond_proj_dim=None))
    pipeline = SimpleNamespace(_guidance_scale=scale, unet=unet)
    switch = module.StableDiffusionPipeline.do_classifier_free_guidance
    assert switch.fget(pipeline) is mixes
