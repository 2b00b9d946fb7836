"""Image-to-image and inpainting, beside diffusers' pipelines with the same random tiny weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import boringfusion_lite as bf
from boringfusion_lite.image_to_image import edge_step, steps_run, to_images, to_mask

PROMPT, SIZE = "a red house", 64


def drawn(mode="RGB", size=(SIZE, SIZE)):
    picture = Image.new("RGB", size, "#88aacc")
    ImageDraw.Draw(picture).rectangle((5, size[1] // 2, size[0], size[1]), "#cc3311")
    return picture.convert(mode)


def square():
    """White in whole latent cells: rows 2 to 4, columns 3 to 6."""
    mask = Image.new("L", (SIZE, SIZE))
    ImageDraw.Draw(mask).rectangle((24, 16, 55, 39), 255)
    return mask


def last(sd, **options):
    *_, frame = sd.sample(PROMPT, **{"steps": 10, "guidance_scale": 3} | options)
    return frame


@pytest.fixture(scope="module")
def known(tiny_sd):
    return tiny_sd.encode_image(drawn())


# ---- equality with diffusers ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs(tiny_folder):
    """Any Stable Diffusion pipeline of diffusers, by name, with the tiny weights."""
    diffusers = pytest.importorskip("diffusers")
    parts = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder).components

    def pipeline(name):
        pipe = getattr(diffusers, name)(**parts, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return pipeline


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("strength", [0.25, 0.58, 0.7, 1.0])
def test_image_to_image_equals_diffusers(tiny_sd, theirs, known, strength):
    pipe, options = theirs("StableDiffusionImg2ImgPipeline"), {"strength": strength}
    generator = torch.Generator().manual_seed(3)
    expected = pipe(
        PROMPT, known, num_inference_steps=10, guidance_scale=3, generator=generator,
        output_type="latent", **options,
    ).images  # fmt: skip
    frame = last(tiny_sd, init_image=drawn(), seed=3, **options)
    assert frame.step == int(10 * strength)
    torch.testing.assert_close(frame.x, expected, atol=2e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_inpainting_equals_diffusers(tiny_sd, theirs, known, strength):
    pipe, options = theirs("StableDiffusionInpaintPipeline"), {"strength": strength}
    generator = torch.Generator().manual_seed(3)
    expected = pipe(
        PROMPT, known, square(), num_inference_steps=10, guidance_scale=3, generator=generator,
        masked_image_latents=known, height=SIZE, width=SIZE, output_type="latent", **options,
    ).images  # fmt: skip
    frame = last(tiny_sd, init_image=drawn(), mask=square(), seed=3, **options)
    torch.testing.assert_close(frame.x, expected, atol=2e-4, rtol=1e-4)


def test_a_picture_becomes_the_same_numbers_as_in_diffusers():
    processor = pytest.importorskip("diffusers.image_processor").VaeImageProcessor()
    for size in ((64, 64), (100, 31)):
        expected = processor.preprocess(drawn(size=size), height=48, width=64)
        torch.testing.assert_close(to_images(drawn(size=size), 48, 64), expected)


# ---- strength ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "strength", "run"),
    [(20, 0.25, 5), (20, 0, 0), (20, 1, 20), (20, 0.04, 0), (50, 0.58, 28), (1, 0.99, 0)],
)
def test_the_number_of_steps(steps, strength, run):
    assert steps_run(steps, strength) == run


@given(st.integers(1, 1000), st.floats(0, 1), st.floats(0, 1))
def test_more_strength_is_never_less_steps(steps, one, other):
    low, high = sorted((one, other))
    assert 0 <= steps_run(steps, low) <= steps_run(steps, high) <= steps


def test_strength_0_is_the_round_trip_through_the_vae(tiny_sd, known):
    frames = list(tiny_sd.sample(PROMPT, init_image=drawn(), strength=0))
    assert len(frames) == 1 and frames[0].step == 0
    assert torch.equal(frames[0].x, known)
    assert tiny_sd(PROMPT, init_image=drawn(), strength=0) == tiny_sd.decode(known)[0]
    assert tiny_sd(PROMPT, init_image=drawn(), strength=0, mask=square()).size == (SIZE, SIZE)


def test_the_last_timesteps_are_run(tiny_sd):
    frames = tiny_sd.sample(PROMPT, steps=10, init_image=drawn(), strength=0.3)
    assert [frame.t for frame in frames] == tiny_sd.schedule.timesteps(10)[-3:].tolist()


def test_at_strength_1_a_trace_of_the_picture_is_left(tiny_sd, known):
    with_picture, without = last(tiny_sd, init_image=drawn(), strength=1).x, last(tiny_sd).x
    assert not torch.allclose(with_picture, without)
    x = tiny_sd.schedule.add_noise(known, tiny_sd.noise(0), int(tiny_sd.schedule.timesteps(10)[0]))
    assert torch.equal(with_picture, last(tiny_sd, noise=x).x)


def test_without_a_number_strength_is_that_of_diffusers(tiny_sd):
    default = last(tiny_sd, init_image=drawn())
    assert torch.equal(default.x, last(tiny_sd, init_image=drawn(), strength=0.8).x)
    masked = last(tiny_sd, init_image=drawn(), mask=square())
    assert masked.step == 10


# ---- masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", bf.SAMPLERS)
def test_what_the_mask_protects_comes_back_to_the_bit(tiny_sd, known, sampler):
    x = last(tiny_sd, init_image=drawn(), mask=square(), sampler=sampler).x
    cells = to_mask(square(), SIZE, SIZE, 8).expand_as(x)
    assert torch.equal(x[~cells], known[~cells])
    assert not torch.isclose(x[cells], known[cells]).any()


def test_all_white_is_text_to_image_and_all_black_the_round_trip(tiny_sd, known):
    white, black = (np.full((SIZE, SIZE), value, np.uint8) for value in (255, 0))
    assert torch.equal(last(tiny_sd, init_image=drawn(), mask=white).x, last(tiny_sd).x)
    assert torch.equal(last(tiny_sd, init_image=drawn(), mask=black).x, known)


def test_every_kind_of_mask_means_the_same():
    picture = square()
    array = np.array(picture)
    kinds = [picture, picture.convert("1"), picture.convert("RGB"), array, array > 0]
    kinds += [array / 255, torch.from_numpy(array), torch.from_numpy(array)[None, None].half()]
    kinds += [array // 255, picture.resize((128, 128), Image.Resampling.NEAREST)]
    cells = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    cells[..., 2:5, 3:7] = True
    for kind in kinds:
        assert torch.equal(to_mask(kind, SIZE, SIZE, 8), cells)


def test_a_single_white_pixel_repaints_its_cell():
    mask = np.zeros((16, 24), bool)
    mask[15, 8] = True
    assert to_mask(mask, 16, 24, 8).flatten().tolist() == [False, False, False, False, True, False]


def test_the_step_at_the_edge():
    cells = to_mask(square(), SIZE, SIZE, 8)
    x = torch.zeros(1, 4, 8, 8)
    assert edge_step(x, cells) == 0
    assert edge_step(x + 3 * cells, cells) == 3
    columns = torch.arange(8.0).expand(1, 4, 8, 8)  # 3 rows cross it left and right, 4 columns not
    assert edge_step(columns, cells) == pytest.approx(6 / (6 + 8))


# ---- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "F"])
def test_pictures_of_any_mode_and_size(tiny_sd, mode):
    picture = Image.new(mode, (37, 90)) if mode in ("I;16", "F") else drawn(mode, (37, 90))
    images = to_images(picture, 48, 64)
    assert images.shape == (1, 3, 48, 64) and images.abs().max() <= 1
    assert tiny_sd.encode_image(picture, 48).shape == (1, 4, 6, 8)


def test_a_tensor_keeps_its_size(tiny_sd):
    image = tiny_sd.vae.decode(tiny_sd.noise(1, 40, 72)).detach().clamp(-1.5, 1.5)
    x = last(tiny_sd, init_image=image, steps=2).x
    assert x.shape == (1, 4, 5, 9)
    assert torch.equal(x, last(tiny_sd, init_image=image[0], steps=2).x)


def test_one_picture_for_all_or_one_for_each(tiny_sd):
    pictures, options = [drawn(), drawn().rotate(90)], {"steps": 4, "seed": [1, 2]}
    *_, both = tiny_sd.sample([PROMPT] * 2, init_image=pictures, **options)
    *_, same = tiny_sd.sample([PROMPT] * 2, init_image=pictures[0], **options)
    alone = last(tiny_sd, init_image=pictures[1], steps=4, seed=2, guidance_scale=7.5)
    torch.testing.assert_close(both.x[1:], alone.x, atol=1e-4, rtol=0)
    torch.testing.assert_close(both.x[0], same.x[0], atol=1e-4, rtol=0)


def test_nothing_is_edited(tiny_sd):
    picture, mask = drawn(), np.array(square())
    noise, image = tiny_sd.noise(0), torch.zeros(1, 3, SIZE, SIZE)
    before = picture.tobytes(), mask.copy()
    last(tiny_sd, init_image=picture, mask=mask, noise=noise)
    last(tiny_sd, init_image=image, noise=noise)
    assert picture.tobytes() == before[0] and (mask == before[1]).all()
    assert torch.equal(noise, tiny_sd.noise(0)) and not image.any()


# ---- what does not fit ---------------------------------------------------------------------------

BLACK = np.zeros((SIZE, SIZE))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"strength": 1.01, "init_image": drawn()}, ValueError, "strength = 1.01: choose from 0"),
        ({"strength": -0.1, "init_image": drawn()}, ValueError, "strength = -0.1"),
        ({"strength": float("nan"), "init_image": drawn()}, ValueError, "strength = nan"),
        ({"strength": 0.5}, ValueError, "need a picture to start from"),
        ({"mask": BLACK}, ValueError, "need a picture to start from"),
        ({"init_image": drawn(), "mask": BLACK[:8]}, ValueError, r"an array \[8, 64\]"),
        ({"init_image": drawn(), "height": 60}, ValueError, "multiples of 8"),
        ({"init_image": torch.zeros(1, 3, 20, 64)}, ValueError, "multiples of 8"),
        ({"init_image": torch.zeros(1, 1, 64, 64)}, ValueError, r"\[1, 1, 64, 64\]"),
        ({"init_image": torch.zeros(64)}, ValueError, r"a tensor \[64\]"),
        ({"init_image": torch.zeros(1, 3, 32, 64), "height": 64}, ValueError, "Set height="),
        ({"init_image": torch.full((3, 64, 64), 255.0)}, ValueError, "go from 255 to 255"),
        ({"init_image": torch.full((3, 64, 64), torch.nan)}, ValueError, "go from nan"),
        ({"init_image": torch.zeros(3, 64, 64).byte()}, ValueError, "floating-point"),
        ({"init_image": torch.zeros(2, 3, 64, 64)}, ValueError, "2 pictures for 1 prompts"),
        ({"init_image": "house.png"}, TypeError, "not str"),
        ({"init_image": []}, TypeError, "A picture is"),
        ({"init_image": ["house.png"]}, TypeError, "holds PIL images, not str"),
        ({"init_image": drawn(), "steps": 0}, ValueError, "steps = 0"),
        ({"noise": torch.zeros(2, 4, 8, 8)}, ValueError, "for 1 prompts"),
        ({"noise": torch.zeros(4, 8, 8)}, ValueError, r"\[1, 4, h, w\]"),
    ],
)
def test_bad_input_is_refused_before_any_work(sd, monkeypatch, options, error, message):
    def asked(*args):
        raise AssertionError("a network was asked")

    for part in (sd.text_encoder, sd.unet, sd.vae.encoder):
        monkeypatch.setattr(part, "forward", asked)
    with pytest.raises(error, match=message):
        sd.sample(PROMPT, **options)


def test_nan_from_the_encoder_is_named(sd):
    with torch.no_grad():
        sd.vae.quant.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="VAE encoder"):
        sd(PROMPT, init_image=drawn())


def test_karras_spacing_begins_midway_as_well(tiny_sd, known):
    options = {"init_image": drawn(), "strength": 0.5, "spacing": "karras", "sampler": "euler"}
    frames = list(tiny_sd.sample(PROMPT, steps=6, **options))
    table = tiny_sd.schedule.timesteps(6, "karras")
    assert [frame.t for frame in frames] == table[3:].tolist()
    assert frames[-1].x.isfinite().all() and frames[-1].x.shape == known.shape
