"""The Tiny SD that lies in data/tiny-sd, as it is shipped."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import boringfusion_lite as bf
from boringfusion_lite import scenes
from boringfusion_lite.runtime import bundled_folder
from boringfusion_lite.scoring import drawings, unseen_scenes

ROOT = Path(__file__).parent.parent
FOLDER = bundled_folder()
COUCH = "photo of a couch, photorealistic"


@pytest.fixture(scope="module")
def tiny():
    return bf.load(FOLDER)


def test_it_is_small_enough_to_check_out():
    sizes = {path: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert max(sizes.values()) <= 16_000_000, max(sizes, key=sizes.get)
    assert sum(sizes.values()) <= 40_000_000


def test_it_is_what_load_opens_without_a_path(tiny, monkeypatch):
    monkeypatch.delenv("BORINGFUSION_MODEL", raising=False)
    assert torch.equal(bf.load().unet.conv_out.weight, tiny.unet.conv_out.weight)
    assert (tiny.image_size, tiny.noise().shape) == (128, (1, 4, 16, 16))


@pytest.fixture(scope="module")
def theirs():
    """The same folder as diffusers opens it."""
    diffusers = pytest.importorskip("diffusers")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(FOLDER)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.reference
@torch.no_grad()
def test_every_network_answers_as_theirs(tiny, theirs):
    g, ids = torch.Generator().manual_seed(0), tiny.tokenize([COUCH, "a red house"])
    x, z = (torch.randn(2, 4, 16, 16, generator=g) for _ in range(2))
    images, context = drawings(unseen_scenes(scenes.STARTER, "train", 2)), tiny.text_encoder(ids)
    ours = {
        "text encoder": context,
        "UNet": tiny.unet(x, 500, context),
        "VAE, encoding": tiny.vae.moments(images)[0],
        "VAE, decoding": tiny.vae.decode(z),
    }
    asked = {
        "text encoder": theirs.text_encoder(ids)[0],
        "UNet": theirs.unet(x, 500, context).sample,
        "VAE, encoding": theirs.vae.encode(images).latent_dist.mean,
        "VAE, decoding": theirs.vae.decode(z / tiny.vae.config.scaling_factor).sample,
    }
    far = {name: (ours[name] - asked[name]).abs().max().item() for name in ours}
    print("\n" + "\n".join(f"{name:16}{difference:.1e}" for name, difference in far.items()))
    assert max(far.values()) < 1e-4


@pytest.mark.reference
@pytest.mark.parametrize("prompt", [COUCH, "a red house under a yellow sun, at night"])
def test_diffusers_opens_it_and_draws_the_same_picture(tiny, theirs, prompt):
    picture = theirs(prompt, num_inference_steps=10, latents=tiny.noise(1)).images[0]
    ours, theirs = (np.asarray(p, dtype=int) for p in (tiny(prompt, steps=10, seed=1), picture))
    assert ours.shape == theirs.shape == (128, 128, 3) and ours.std() > 5
    assert np.abs(ours - theirs).max() <= 2


def test_it_knows_its_words_and_no_others(tiny):
    assert tiny.unknown_words(COUCH) == []
    assert tiny.unknown_words("a red dragon") == ["dragon"]
    for seed in range(100):
        caption = scenes.random_scene(seed, scenes.STARTER, "held-out").caption
        assert tiny.unknown_words(caption) == [], caption


def test_its_clip_reads_with_the_same_text_tower(tiny):
    clip, ids = bf.load_clip(FOLDER), tiny.tokenize([COUCH, "a red house"])
    with torch.no_grad():
        assert torch.equal(clip.text_encoder(ids), tiny.text_encoder(ids))
    assert clip.config.image.image_size == tiny.image_size


@torch.no_grad()
def test_the_scaling_factor_is_one_over_the_spread(tiny):
    """On scenes that were never trained: scaled latents have a standard deviation of about 1."""
    images = drawings(unseen_scenes(scenes.STARTER, "train", 128))
    latents = torch.cat([tiny.vae.encode(batch) for batch in images.split(16)])
    assert latents.std().item() == pytest.approx(1, rel=0.05)
    assert tiny.vae.decode(latents[:4]).sub(images[:4]).square().mean() < 0.02


def test_two_runs_draw_the_same_bytes(tmp_path):
    files = [tmp_path / "one.png", tmp_path / "two.png"]
    command = [sys.executable, "-m", "boringfusion_lite", COUCH, "--steps", "3", "--model", FOLDER]
    for file in files:
        subprocess.run([*command, "-o", file], cwd=ROOT, check=True)
    assert files[0].read_bytes() == files[1].read_bytes()
