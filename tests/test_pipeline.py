"""What `StableDiffusion` promises, on the tiny random model of conftest.py."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import boringfusion_lite as bf
from boringfusion_lite.pipeline import to_pil

COUCH = "photo of a couch, photorealistic"


@pytest.fixture
def no_work(sd, monkeypatch):
    """The tiny model, whose networks must not be asked."""

    def asked(*args, **kwargs):
        raise AssertionError("a network was asked before the arguments were checked")

    for part in (sd.text_encoder, sd.unet, sd.vae):
        monkeypatch.setattr(part, "forward", asked)
    return sd


def last(sd, prompt=COUCH, **options):
    *_, frame = sd.sample(prompt, **{"steps": 3} | options)
    return frame


def test_every_stage_has_its_shape(sd):
    assert (sd.device, sd.dtype, sd.image_size) == (torch.device("cpu"), torch.float32, 64)
    ids = sd.tokenize([COUCH, "a red house"])
    assert ids.shape == (2, 77) and ids.dtype == torch.long
    context = sd.encode([COUCH, "a red house"])
    assert context.shape == (2, 77, 32) and torch.equal(context, sd.text_encoder(ids))
    x = sd.noise([0, 1], height=40, width=72)
    assert x.shape == (2, 4, 5, 9) and x.dtype == torch.float32
    eps = sd.unet(x, torch.tensor([3, 998]), context)
    assert eps.shape == x.shape
    images = sd.vae.decode(x)
    assert images.shape == (2, 3, 40, 72)
    assert sd.vae.encode(images).shape == x.shape
    mean, logvar = sd.vae.moments(images)
    assert mean.shape == logvar.shape == x.shape
    assert [picture.size for picture in sd.decode(x)] == [(72, 40)] * 2


def test_a_timestep_may_be_a_number_a_scalar_or_one_for_each_picture(sd):
    x, context = sd.noise([0, 1]), sd.encode([COUCH, ""])
    expected = sd.unet(x, torch.tensor([7, 7]), context)
    for t in (7, torch.tensor(7)):
        assert torch.equal(sd.unet(x, t, context), expected)


def test_frames_tell_the_whole_run(sd):
    frames = list(sd.sample(COUCH, steps=4, height=48))
    assert [frame.step for frame in frames] == [1, 2, 3, 4]
    assert [frame.t for frame in frames] == sd.schedule.timesteps(4).tolist()
    assert all(frame.x.shape == frame.x0.shape == (1, 4, 6, 8) for frame in frames)


def test_a_call_returns_a_picture(sd):
    picture = sd(COUCH, steps=2, seed=5, height=40)
    assert isinstance(picture, Image.Image) and picture.size == (64, 40)
    assert picture == sd.decode(last(sd, steps=2, seed=5, height=40).x)[0]


# ---- seeds and noise -----------------------------------------------------------------------------


def test_noise_is_drawn_in_float32_whatever_the_model_computes_in(sd):
    expected = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    assert torch.equal(sd.noise(7), expected)
    sd.unet.to(torch.bfloat16)
    assert torch.equal(sd.noise(np.int64(7)), expected.to(torch.bfloat16))


@pytest.mark.parametrize("sampler", bf.SAMPLERS)
def test_the_seed_decides(sd, sampler):
    once, again, other = (last(sd, sampler=sampler, seed=s).x for s in (3, 3, 4))
    assert torch.equal(once, again)
    assert not torch.allclose(once, other)


def test_the_largest_seed_works(sd):
    assert last(sd, sampler="ddpm", seed=2**63 - 1).x.isfinite().all()
    with pytest.raises(ValueError, match="A seed is a whole number"):
        last(sd, seed=-1)


@pytest.mark.parametrize(("sampler", "eta"), [*((s, 0.0) for s in bf.SAMPLERS), ("ddim", 0.7)])
def test_a_picture_of_a_batch_is_the_one_it_would_be_alone(sd, sampler, eta):
    prompts, seeds = [COUCH, "", "a red house"], [5, 0, 9]
    together = last(sd, prompts, seed=seeds, sampler=sampler, eta=eta).x
    alone = [last(sd, p, seed=s, sampler=sampler, eta=eta).x for p, s in zip(prompts, seeds)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=0)


def test_one_seed_for_a_batch_counts_up(sd):
    counted, given_ = last(sd, [COUCH] * 2, seed=4).x, last(sd, [COUCH] * 2, seed=[4, 5]).x
    assert torch.equal(counted, given_)
    with pytest.raises(ValueError, match="2 prompts and 1 seeds"):
        last(sd, [COUCH] * 2, seed=[4])
    with pytest.raises(ValueError, match="0 prompts"):
        last(sd, [])


def test_the_global_random_state_is_left_alone(tiny_folder):
    torch.manual_seed(11)
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    model = bf.load(tiny_folder)
    bf.load_clip(tiny_folder)
    model(COUCH, steps=2, sampler="ddpm")
    model.vae.encode(torch.zeros(1, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())
    assert (numbers == np.random.get_state()[1]).all()


# ---- guidance ------------------------------------------------------------------------------------


def test_guidance_1_is_the_conditional_prediction(sd):
    context = sd.encode(COUCH)
    expected = list(bf.sample(lambda x, t: sd.unet(x, t, context), sd.noise(2), sd.schedule))
    plain = replace(sd, remember=False)  # what it remembers differs by rounding
    frames = plain.sample(COUCH, guidance_scale=1, seed=2, negative_prompt="a red house")
    for ours, theirs in zip(frames, expected, strict=True):
        assert torch.equal(ours.x, theirs.x)


def test_prompt_and_negative_prompt_matter(sd):
    plain = last(sd).x
    assert not torch.allclose(plain, last(sd, "a red house").x)
    assert not torch.allclose(plain, last(sd, negative_prompt="a red house").x)
    assert torch.allclose(plain, last(sd, negative_prompt="").x)


# ---- what the model does not see -----------------------------------------------------------------


def test_unknown_words_are_named(sd):
    assert sd.unknown_words(COUCH) == []
    assert sd.unknown_words("a Dragon, a red unicorn! dragon") == ["Dragon", "unicorn", "dragon"]
    with pytest.warns(UserWarning, match="does not know these words: dragon, wyvern$"):
        sd("a dragon, a dragon, a wyvern", steps=1)


def test_the_cut_tail_is_shown(sd):
    prompt = "a red couch " * 833 + "red."  # 10,000 characters
    assert len(prompt) == 10_000
    with pytest.warns(UserWarning, match=r"longer than 75 tokens.*'a red couch .*\.\.\.'"):
        long = sd(prompt, steps=1)
    assert long == sd("a red couch " * 25, steps=1)


@pytest.mark.parametrize("prompt", ["", " ", "🐉", "\x00\x07 \ud800", "é" * 80, "a" * 10_000])
def test_any_text_is_a_prompt(sd, prompt):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert sd(prompt, steps=1, negative_prompt=prompt).size == (64, 64)


def test_a_known_prompt_warns_of_nothing(sd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sd(COUCH, steps=1)


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [{"height": 60}, {"width": 7}, {"height": 0}, {"width": -64}])
def test_sizes_are_checked_before_any_work(no_work, size):
    with pytest.raises(ValueError, match="multiples of 8"):
        no_work.sample(COUCH, **size)
    with pytest.raises(ValueError, match="multiples of 8"):
        no_work.noise(**size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps = 0"),
        ({"steps": -3}, "steps = -3"),
        ({"steps": 1001}, r"1\.\.1000"),
        ({"sampler": "magic"}, "Unknown sampler 'magic'. Choose from: ddpm"),
        ({"guidance_scale": float("nan")}, "guidance_scale = nan"),
        ({"eta": 2}, "eta = 2"),
        ({"sampler": "euler", "eta": 1}, "'euler' has no eta"),
    ],
)
def test_bad_options_are_refused_before_the_first_step(sd, options, message, monkeypatch):
    monkeypatch.setattr(sd.unet, "forward", lambda *args: pytest.fail("the UNet was asked"))
    with pytest.raises(ValueError, match=message):
        sd.sample(COUCH, **options)


@pytest.mark.parametrize("prompt", [None, 3, b"couch", ["couch", None]])
def test_only_text_is_a_prompt(sd, prompt):
    with pytest.raises(TypeError, match="A prompt is a string"):
        last(sd, prompt)


@pytest.mark.parametrize("images", [torch.zeros(3, 16, 16), torch.zeros(1, 3, 16, 20)])
def test_the_vae_refuses_what_does_not_divide(sd, images):
    with pytest.raises(ValueError, match="multiples of 8"):
        sd.vae.encode(images)


@pytest.mark.parametrize(
    ("broken", "stage"),
    [
        (lambda sd: sd.text_encoder.final_norm.weight, "the text encoder returned NaN"),
        (lambda sd: sd.unet.conv_out.weight, r"Step 1 \(t = \d+\): the predicted noise"),
        (lambda sd: sd.vae.decoder.conv_out.bias, "the VAE decoder returned NaN"),
    ],
)
def test_nan_is_named_by_stage_and_the_model_stays_usable(sd, broken, stage):
    weight = broken(sd)
    saved = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=stage):
        sd(COUCH, steps=2)
    with torch.no_grad():
        weight.copy_(saved)
    assert sd(COUCH, steps=2).size == (64, 64)


# ---- nothing is changed --------------------------------------------------------------------------


def test_arguments_are_not_edited(sd):
    prompts, seeds = [COUCH, "a red house"], [1, 2]
    x, t, images = sd.noise(seeds), torch.tensor([5, 6]), torch.rand(2, 3, 16, 16) * 2 - 1
    context = sd.encode(prompts)
    copies = [tensor.clone() for tensor in (x, t, images, context)]
    weights = {name: w.clone() for name, w in sd.unet.state_dict().items()}
    last(sd, prompts, seed=seeds)
    sd.unet(x, t, context)
    sd.decode(x)
    sd.vae.encode(images, generator=torch.Generator().manual_seed(0))
    assert prompts == [COUCH, "a red house"] and seeds == [1, 2]
    assert all(map(torch.equal, copies, (x, t, images, context)))
    assert all(torch.equal(w, sd.unet.state_dict()[name]) for name, w in weights.items())


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 2))
def test_every_multiple_of_8_decodes(sd, rows, columns, batch):
    latents = sd.noise(list(range(batch)), 8 * rows, 8 * columns)
    pictures = sd.decode(latents)
    assert [picture.size for picture in pictures] == [(8 * columns, 8 * rows)] * batch
    assert sd.vae.encode(sd.vae.decode(latents)).shape == latents.shape


def test_pixels_are_rounded_and_clipped():
    values = torch.tensor([-3.0, -1.0, 0.0, 1 / 255, 1.0, 9.0])
    picture = to_pil(values.expand(1, 3, 1, 6))[0]
    assert [picture.getpixel((i, 0))[0] for i in range(6)] == [0, 0, 128, 128, 255, 255]


def test_a_context_is_as_good_as_its_prompt(tiny_sd):
    words, options = "a red house", {"steps": 2, "seed": 3}
    context = tiny_sd.encode(words)
    assert tiny_sd.encode(context) is context
    assert tiny_sd(context, **options).tobytes() == tiny_sd(words, **options).tobytes()
    both = list(tiny_sd.sample(tiny_sd.encode([words, "a cat"]), negative_prompt=context, steps=2))
    assert both[-1].x.shape[0] == 2


@torch.no_grad()
def test_where_float16_overflows_it_decodes_in_float32(sd):
    x = sd.noise(3)
    for part in sd.vae.decoder.conv_in.weight, sd.vae.decoder.conv_in.bias:
        part *= 1e5  # the norms bring it back, but not from infinity
    expected = sd.decode(x)[0]
    half = sd.vae.half()
    assert not half.decode(x.half()).isfinite().all()
    found = sd.decode(x.half())[0]
    assert np.abs(np.asarray(found, int) - np.asarray(expected, int)).max() <= 3
    assert sd.vae.decoder.conv_in.weight.dtype == torch.float16  # the model stays as it was
