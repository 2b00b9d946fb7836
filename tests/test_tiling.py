"""Convolutions that wrap round: rolling the latents rolls the picture, and all is put back."""

import pytest
import torch
from torch import nn

from boringfusion_lite.tiling import seams, tiled, wrapped


def state(sd):
    convs = [m for net in (sd.unet, sd.vae) for m in net.modules() if isinstance(m, nn.Conv2d)]
    return [(conv.padding, len(conv._forward_pre_hooks)) for conv in convs]


@pytest.mark.parametrize(("x", "y"), [(True, True), (True, False), (False, True)])
def test_a_wrapped_convolution_is_torchs_circular_one(x, y):
    ours = nn.Conv2d(3, 5, (3, 5), padding=(1, 2))
    theirs = nn.Conv2d(3, 5, (3, 5), padding=(1, 2), padding_mode="circular")
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    plain = ours(image)
    with wrapped(ours, x=x, y=y):
        inside = ours(image)
    if x and y:
        assert torch.equal(inside, theirs(image))
    assert torch.allclose(inside[..., 2:-2], plain[..., 2:-2], atol=1e-6) is not y
    assert torch.allclose(inside[..., 1:-1, :], plain[..., 1:-1, :], atol=1e-6) is not x
    assert torch.equal(ours(image), plain)


@pytest.mark.parametrize("shift", [(3, 0), (0, -2), (5, 1)])
def test_rolling_the_latents_rolls_the_picture(tiny_sd, shift):
    latents, pixels = tiny_sd.noise(0), [8 * cells for cells in shift]
    with torch.no_grad(), tiled(tiny_sd):
        image = tiny_sd.vae.decode(latents)
        moved = tiny_sd.vae.decode(latents.roll(shift, (-1, -2)))
    torch.testing.assert_close(moved, image.roll(pixels, (-1, -2)), atol=1e-4, rtol=0)
    outside = tiny_sd.vae.decode(latents.roll(shift, (-1, -2)))
    assert (outside - tiny_sd.vae.decode(latents).roll(pixels, (-1, -2))).abs().max() > 0.01


def test_rolling_the_noise_rolls_the_whole_run(tiny_sd):
    """By whole cells of the UNet's smallest map."""
    noise, step = tiny_sd.noise(1), 2 ** (len(tiny_sd.unet.config.channels) - 1)
    options = {"steps": 3, "guidance_scale": 3}
    with tiled(tiny_sd):
        *_, still = tiny_sd.sample("a red house", noise=noise, **options)
        *_, moved = tiny_sd.sample("a red house", noise=noise.roll(step, -1), **options)
    torch.testing.assert_close(moved.x, still.x.roll(step, -1), atol=1e-4, rtol=0)


def test_one_direction_alone(tiny_sd):
    latents = tiny_sd.noise(0)
    with torch.no_grad(), tiled(tiny_sd, y=False):
        image = tiny_sd.vae.decode(latents)
        across, down = (tiny_sd.vae.decode(latents.roll(1, dim)) for dim in (-1, -2))
    torch.testing.assert_close(across, image.roll(8, -1), atol=1e-4, rtol=0)
    assert (down - image.roll(8, -2)).abs().max() > 0.01


def test_blocks_may_be_nested(tiny_sd):
    latents = tiny_sd.noise(0)
    with torch.no_grad(), tiled(tiny_sd):
        both = tiny_sd.vae.decode(latents)
    with torch.no_grad(), tiled(tiny_sd, y=False), tiled(tiny_sd, x=False), tiled(tiny_sd):
        assert torch.allclose(tiny_sd.vae.decode(latents), both, atol=1e-6)


def test_the_model_is_as_before(sd):
    before, latents = state(sd), sd.noise(0)
    image, weights = sd.decode(latents)[0], {k: v.clone() for k, v in sd.unet.state_dict().items()}
    with tiled(sd):
        assert state(sd) != before
        assert sd.decode(latents)[0].tobytes() != image.tobytes()
    with pytest.raises(KeyboardInterrupt), tiled(sd):
        raise KeyboardInterrupt
    assert state(sd) == before
    assert sd.decode(latents)[0].tobytes() == image.tobytes()
    assert all(torch.equal(weights[name], w) for name, w in sd.unet.state_dict().items())


def test_the_encoder_is_left_alone(sd):
    image = torch.zeros(1, 3, 64, 64)
    before = sd.vae.encode(image)
    with tiled(sd):
        assert torch.equal(sd.vae.encode(image), before)


def test_seams():
    ramp = torch.arange(10.0).expand(1, 3, 10, 10)
    assert seams(ramp) == (9, 1)  # nine steps at once across x, no step anywhere across y
    assert seams(ramp.mT) == (1, 9)
    snow = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert seams(snow) == pytest.approx((1, 1), abs=0.2)
    assert seams(torch.zeros(1, 3, 8, 8)) == (1, 1)
    assert seams((ramp > 4).float()) == (float("inf"), 1)
