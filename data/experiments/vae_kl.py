"""What the KL weight does: five small VAEs, alike but for it, trained for as many steps each.

    python data/experiments/vae_kl.py             # took eight minutes on one core

Writes vae_kl.json beside itself: errors and KL on squares that no training saw, what a draw from
N(0, 1) decodes to, and how much noise on the latents each of them forgives. Page 10 draws it.
"""

import argparse
import base64
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from boringfusion_lite import recipes, scenes, scoring, weights
from boringfusion_lite.dataset import Pictures
from boringfusion_lite.pipeline import to_pil
from boringfusion_lite.vae import VAE, VAEConfig

WEIGHTS = (0.0, 1e-6, 1e-4, 1e-2, 1.0)
NOISE = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # in units of the latents' own spread
SMALL = VAEConfig(sample_size=64, channels=(16, 32, 48, 64), blocks_per_level=1, groups=8)
CPU, SIDE, SHOWN = torch.device("cpu"), 64, 3


def options(steps: int) -> argparse.Namespace:
    """How many steps, on how many pictures, kept where."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    return parser.parse_args()


def unseen(count: int) -> tuple[Tensor, Tensor]:
    """Squares around things, from beyond every training set: images, and where the things are."""
    first = {"first": scoring.UNSEEN, "cache": Path("runs"), "size": 128}
    pictures = Pictures.drawn(scenes.STARTER, count, **first)
    order = np.arange(count)
    images, mask = pictures.images(order), pictures.thing_mask(order)
    return recipes.crop_around_things(images, mask, SIDE, recipes.generator(0, 0))


def trained(model, loss: recipes.VAELoss, steps: int, rate: float) -> None:
    """AdamW, the rate falling to nothing along a line; prints every hundredth step."""
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=rate, betas=(0.9, 0.99), fused=True)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min((step + 1) / 20, 1 - step / steps)
        optimizer.zero_grad(set_to_none=True)
        value, _ = loss(step, step / steps)
        value.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}: {value.item():.4f}", flush=True)


def psnr(vae: VAE, z: Tensor, images: Tensor) -> float:
    """Decibels of what unscaled latents decode to, the mean over the pictures."""
    output = vae.decoder(vae.post_quant(z)).clamp(-1, 1)
    return scoring.psnr((output - images).square().mean(dim=(1, 2, 3))).mean().item()


def sheet(pictures: list[Image.Image]) -> str:
    """Pictures side by side as one JPEG, in base64."""
    whole, buffer = (
        Image.new("RGB", (sum(p.width for p in pictures), pictures[0].height)),
        BytesIO(),
    )
    for number, picture in enumerate(pictures):
        whole.paste(picture, (number * picture.width, 0))
    whole.save(buffer, format="jpeg", quality=90, subsampling=0)
    return base64.b64encode(buffer.getvalue()).decode()


@torch.no_grad()
def measured(vae: VAE, images: Tensor) -> dict:
    """All numbers and pictures of one VAE."""
    mean, logvar = vae.moments(images)
    kl = (mean.square() + logvar.exp() - 1 - logvar) / 2
    g, spread = recipes.generator(0, 1), mean.std()
    noise = torch.randn(mean.shape, generator=g)
    draws = vae.decoder(vae.post_quant(torch.randn(mean[:SHOWN].shape, generator=g)))
    copies = vae.decoder(vae.post_quant(mean[:SHOWN]))
    return {
        "psnr": psnr(vae, mean, images),
        "kl": kl.mean().item(),
        "spread": spread.item(),
        "cloud": (logvar / 2).exp().mean().item(),
        "noisy": [psnr(vae, mean + amount * spread * noise, images) for amount in NOISE],
        "copies": sheet(to_pil(copies)),
        "draws": sheet(to_pil(draws)),
    }


def main() -> None:
    args = options(steps=300)
    pictures = Pictures.drawn(scenes.STARTER, args.pictures, args.runs)
    images, _ = unseen(24)
    result = {"steps": args.steps, "noise": NOISE, "drawings": sheet(to_pil(images[:SHOWN]))}
    result["vaes"] = {}
    for weight in WEIGHTS:
        torch.manual_seed(0)
        vae = weights.start_certain(VAE(SMALL))
        loss = recipes.VAELoss(vae, pictures, CPU, batch=4, kl_weight=weight, crops_until=2.0)
        trained(vae, loss, args.steps, 2e-3)
        found = measured(vae.eval(), images)
        result["vaes"][f"{weight:g}"] = found
        print(f"KL weight {weight:g}: {found['psnr']:.1f} dB, KL {found['kl']:.2f}", flush=True)
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
