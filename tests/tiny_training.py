"""The three trainings cut down to a second: small pictures, small networks, a clock that ticks.

Shared by test_training.py, test_accelerate.py with its processes, and test_recorded_losses.py.
"""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from tiny import CLIP_CONFIG, UNET_CONFIG, VAE_CONFIG

import boringfusion_lite as bf
from boringfusion_lite import dataset, recipes, scenes, sharpening, training, weights
from boringfusion_lite.clip import CLIP, ImageEncoder
from boringfusion_lite.dataset import Pictures
from boringfusion_lite.finished import Denoiser
from boringfusion_lite.joint import JointLoss
from boringfusion_lite.training import Record, Run
from boringfusion_lite.unet import UNet
from boringfusion_lite.vae import VAE

CPU = torch.device("cpu")
SIZE, COUNT = 64, 32
CONFIGS = {  # what stands for the networks of recipes.py
    "TINY_CLIP": CLIP_CONFIG,
    "TINY_TEXT": CLIP_CONFIG.text,
    "TINY_VAE": VAE_CONFIG,
    "TINY_UNET": UNET_CONFIG,
}


def draw_pictures() -> Pictures:
    drawn = [dataset.render(i, scenes.STARTER, "train", SIZE) for i in range(COUNT)]
    pixels, places = map(np.stack, zip(*drawn))
    return Pictures(scenes.STARTER, 0, pixels, places)


def vae_loss(pictures, tokenizer):
    vae = weights.start_certain(VAE(VAE_CONFIG))
    return vae, recipes.VAELoss(vae, pictures, CPU)


def clip_loss(pictures, tokenizer):
    clip = weights.start_quiet(CLIP(CLIP_CONFIG))
    return clip, recipes.CLIPLoss(clip, pictures, tokenizer, CPU, batch=8)


def unet_loss(pictures, tokenizer):
    """Of the UNet alone: CLIP stays as it is."""
    unet, clip = UNet(UNET_CONFIG), weights.start_quiet(CLIP(CLIP_CONFIG))
    latents = torch.randn(COUNT, 4, 8, 8, generator=torch.Generator().manual_seed(5)).half()
    parts = (unet, clip.text_encoder, latents, pictures, tokenizer, bf.Schedule(), CPU)
    model = Denoiser(unet, clip, train_text=False)
    return model, recipes.UNetLoss(*parts, batch=8, train_text=False)


def joint_loss(pictures, tokenizer):
    """Of the UNet and CLIP: the usual training."""
    alone, loss = unet_loss(pictures, tokenizer)
    model, loss.train_text = Denoiser(alone.unet, alone.clip), True
    return model, JointLoss(loss, recipes.CLIPLoss(model.clip, pictures, tokenizer, CPU))


def vae_again_loss(pictures, tokenizer):
    vae = VAE(VAE_CONFIG)
    return sharpening.Decoding(vae), recipes.VAELoss(vae, pictures, CPU)


def critic_loss(pictures, tokenizer):
    return sharpening.contest(VAE(VAE_CONFIG), ImageEncoder(CLIP_CONFIG.image), pictures, CPU)


LOSSES = {"vae": vae_loss, "clip": clip_loss, "unet": joint_loss}
AGAIN = {"vae-again": vae_again_loss, "critic": critic_loss}


def ticking_clock(seconds: int = 1) -> SimpleNamespace:
    """In place of `time`: so much passes whenever somebody looks, and so in a training step."""
    ticks = iter(range(0, 10**9, seconds))
    return SimpleNamespace(monotonic=lambda: next(ticks))


def new_run(name: str, folder: Path, pictures, tokenizer, steps: int = 10, **options) -> Run:
    """A run of so many steps with batches of 4, with the same initial weights each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, loss = (LOSSES | AGAIN)[name](pictures, tokenizer)
    loss.batch = 4
    return Run(name, model, loss, folder, steps / 60, 1e-3, warm_up=4, **options)


def exact_records(run: Run, patch) -> list[Record]:
    """The records of a run in float32, by the ticking clock; `patch`: a pytest.MonkeyPatch."""
    patch.setattr(training, "time", ticking_clock())
    patch.setattr(recipes, "mixed_precision", lambda device: nullcontext())
    return list(run.train())
