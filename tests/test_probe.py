"""The probe: known numbers of SD 1.5, rows in order, and models left as they were."""

import pytest
import torch

from boringfusion_lite import probe, scenes
from boringfusion_lite.clip import TextConfig, TextEncoder
from boringfusion_lite.pipeline import StableDiffusion
from boringfusion_lite.schedule import Schedule
from boringfusion_lite.tokenizer import Tokenizer
from boringfusion_lite.unet import UNet, UNetConfig
from boringfusion_lite.vae import VAE, VAEConfig

COUCH = "photo of a couch, photorealistic"


@pytest.fixture(scope="module")
def sd():
    """A very small model with random weights, two levels deep."""
    text = TextEncoder(TextConfig(width=32, layers=1, heads=2))
    levels = {"channels": (16, 32), "attention": (True, False), "heads": (2, 2), "groups": 8}
    unet = UNet(UNetConfig(sample_size=8, context_width=32, blocks_per_level=1, **levels))
    vae = VAE(VAEConfig(channels=(8, 8, 8, 8), blocks_per_level=1, groups=4))
    return StableDiffusion(Tokenizer.load(), text.eval(), unet.eval(), vae.eval(), Schedule())


@pytest.fixture(scope="module")
def sd15():
    return probe.sd15_on_meta()


def hooks(sd):
    """All hooks on all modules of a model."""
    networks = (sd.text_encoder, sd.unet, sd.vae)
    modules = [module for network in networks for module in network.modules()]
    return [hook for m in modules for hook in (*m._forward_hooks, *m._forward_pre_hooks)]


def by_name(rows):
    return {(row.stage, row.name): row for row in rows}


def test_sd15_has_the_parameters_that_it_is_known_for(sd15):
    counts = probe.parameter_counts(sd15)
    assert counts == {"text encoder": 123_060_480, "UNet": 859_520_964, "VAE": 83_653_863}


def test_sd15_on_the_meta_device(sd15):
    rows = by_name(probe.shape_trace(sd15, COUCH))
    assert {row.device for row in rows.values()} == {"meta"}
    shapes = {
        ("tokenizer", "ids"): (1, 77),
        ("text encoder", "context"): (1, 77, 768),
        ("noise", "x"): (1, 4, 64, 64),
        ("UNet", "time vector"): (1, 1280),
        ("UNet", "down, level 1"): (1, 320, 64, 64),
        ("UNet", "middle"): (1, 1280, 8, 8),
        ("UNet", "up, level 3"): (1, 1280, 16, 16),
        ("UNet", "eps"): (1, 4, 64, 64),
        ("VAE decoder", "image"): (1, 3, 512, 512),
    }
    assert {key: rows[key].shape for key in shapes} == shapes
    assert rows["VAE decoder", "image"].bytes == 3 * 512 * 512 * 4
    assert rows["tokenizer", "ids"].dtype == "int64"


def test_a_trace_follows_the_data_and_leaves_nothing_behind(sd):
    rows = probe.shape_trace(sd, COUCH)
    stages = list(dict.fromkeys(row.stage for row in rows))
    order = ["text encoder", "tokenizer", "noise", "UNet", "sampler", "VAE decoder"]
    assert sorted(stages) == sorted(order) and stages[-3:] == order[-3:]
    assert rows[-1].shape == (1, 3, sd.image_size, sd.image_size)
    assert by_name(rows)["text encoder", "context"].shape == (1, 77, 32)
    for row in rows:
        size = torch.empty(row.shape, dtype=getattr(torch, row.dtype), device="meta")
        assert row.bytes == size.nbytes
    assert not hooks(sd)


def test_hooks_are_gone_after_an_error_too(sd, monkeypatch):
    monkeypatch.setattr(VAE, "decode", lambda self, latents: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        probe.shape_trace(sd, COUCH)
    assert not hooks(sd)
    with pytest.raises(ZeroDivisionError), probe.stopwatch(sd):
        1 / 0  # noqa: B018
    assert not hooks(sd)


def test_the_table_lines_two_models_up(sd, sd15):
    traces = {"small": probe.shape_trace(sd, COUCH), "big": probe.shape_trace(sd15, COUCH)}
    table = probe.tensor_table(traces).data
    assert table.count("<tr>") == len(traces["big"]) + 1  # the big one has them all
    assert "<th>small</th>" in table and "<th>big</th>" in table
    assert "<td>-</td>" in table and "<td>256&nbsp;MiB</td>" in table


def test_a_stopwatch_counts_calls_and_adds_up(sd):
    with probe.stopwatch(sd) as watch:
        sd(COUCH, steps=3, guidance_scale=5.0)
    assert watch.calls == {"text encoder": 2, "UNet": 3, "VAE decoder": 1}
    assert list(watch.ms) == ["text encoder", "UNet", "VAE decoder", "everything else"]
    assert min(watch.ms.values()) >= 0
    assert not hooks(sd)


# ---- one guess of the UNet -----------------------------------------------------------------------


def perfect(noise):
    """A UNet that always gives the noise that was added."""
    return lambda self, x, t, context: noise


def test_the_clean_guess_is_the_truth_where_the_noise_guess_is(sd, monkeypatch):
    latents, noise = sd.noise([0, 1, 2]), sd.noise([3, 4, 5])
    t = torch.tensor([20, 500, 999])
    x = sd.schedule.add_noise(latents, noise, t)
    monkeypatch.setattr(UNet, "forward", perfect(noise))
    eps, x0 = probe.guess(sd, x, t, sd.encode("a house"))
    assert torch.equal(eps, noise)
    torch.testing.assert_close(x0, latents, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_guess_is_the_unets_and_may_be_told_another_time(sd):
    x, context = sd.noise([0, 1]), sd.encode("a house")
    eps, x0 = probe.guess(sd, x, 700, context)
    assert torch.equal(eps, sd.unet(x, 700, context.expand(2, -1, -1)))
    told, other = probe.guess(sd, x, 700, context, told=100)
    assert torch.equal(told, sd.unet(x, 100, context.expand(2, -1, -1)))
    a = sd.schedule.alphas_cumprod[700]
    torch.testing.assert_close(a.sqrt() * other + (1 - a).sqrt() * told, x)
    assert not torch.equal(x0, other)


def test_noise_errors_of_predictors_that_are_known(sd, monkeypatch):
    latents, context = sd.noise(range(32)), sd.encode(["a house"] * 32)
    monkeypatch.setattr(UNet, "forward", lambda self, x, t, context: torch.zeros_like(x))
    zero = probe.noise_errors(sd, latents, context, [100, 900])
    assert zero.shape == (2, 32) and zero.mean().item() == pytest.approx(1, abs=0.05)

    def scaled(self, x, t, context):  # the best that scaling the input can do: error alpha_bar
        return (1 - sd.schedule.alphas_cumprod[t]).sqrt()[:, None, None, None] * x

    monkeypatch.setattr(UNet, "forward", scaled)
    errors = probe.noise_errors(sd, latents, context, [100, 500, 900]).mean(dim=1)
    torch.testing.assert_close(
        errors, sd.schedule.alphas_cumprod[[100, 500, 900]], atol=0.05, rtol=0.05
    )


def test_scenes_become_latents_at_the_models_size(sd):
    drawn = [scenes.random_scene(seed, scenes.STARTER) for seed in range(2)]
    latents = probe.scene_latents(sd, drawn)
    assert latents.shape == sd.noise([0, 1]).shape and latents.dtype == sd.dtype
    alone = probe.scene_latents(sd, drawn[1:])
    torch.testing.assert_close(latents[1:], alone)
